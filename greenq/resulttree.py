"""The tree that results form: what each task sent, and what those sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from greenq.errors import GreenqError, IncompleteStream

__all__ = ["ResultGraph", "ResultTree", "leaves_of"]


class ResultGraph(dict[Any, list[Any]]):
    """Results, and which of them each one needs: as a mapping, or as text for Graphviz."""

    def add_arc(self, node: Any) -> None:
        """Add a result."""
        self.setdefault(node, [])

    def add_edge(self, parent: Any, child: Any) -> None:
        """Say that `parent` has sent `child`."""
        self[parent].append(child)

    def edges(self) -> list[Any]:
        """The results that have sent others."""
        return [node for node, children in self.items() if children]

    def valency_of(self, node: Any) -> int:
        """How many results hang on one, itself included; counted along every way."""
        return 1 + sum(self.valency_of(child) for child in self.get(node, ()))

    def topsort(self) -> list[Any]:
        """All results, each after those that it has sent."""
        order: dict[Any, None] = {}
        stack = [(node, False) for node in reversed(list(self))]
        while stack:
            node, done = stack.pop()
            if done:
                order.setdefault(node)
            elif node not in order:
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(self.get(node, [])))
        return list(order)

    def to_dot(self, fh: Any, formatter: Callable[[Any], str] = str) -> None:
        """Write it as Graphviz reads it.

        Parameters:
            fh: a file open for text.
            formatter: says how a result is labelled.
        """
        names = {node: formatter(node).replace('"', r"\"") for node in self}
        fh.write("digraph dependencies {\n")
        fh.writelines(f'    "{name}";\n' for name in names.values())
        for node, children in self.items():
            fh.writelines(f'    "{names[node]}" -> "{formatter(child)}";\n' for child in children)
        fh.write("}\n")

    def __repr__(self) -> str:
        return "\n".join(
            f"{node}({len(children)})" + "".join(f"\n     {child}" for child in children)
            for node, children in self.items()
        )


class ResultTree:
    """The part of a result that follows what its task has sent."""

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Walk the tree, nearest first: pairs of a result's parent (None for itself) and the result.

        Parameters:
            intermediate: pass over tasks that have not ended yet.

        Raises:
            IncompleteStream: one has not ended, so that its children are not known.
        """
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        while waiting:
            parent, node = waiting.popleft()
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children)
            elif not intermediate:
                raise IncompleteStream(f"task {node} has not ended: what it has sent is not known yet")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Walk the tree and wait for each value: pairs of a result and its value.

        Parameters:
            intermediate: see `iterdeps`; not needed, as each is waited for before its children are asked for.
            options: as `get` takes them.
        """
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last result in the tree."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def build_graph(self, intermediate: bool = False) -> ResultGraph:
        """The tree as a graph; see `iterdeps`."""
        graph = ResultGraph()
        for parent, node in self.iterdeps(intermediate):
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    @property
    def graph(self) -> ResultGraph:
        """The same as `build_graph`."""
        return self.build_graph()

    # ── revoking ─────────────────────────────────────────────────────────────────────────────────────────

    def _leaves(self) -> Iterator[Any]:
        """The results of single calls that it consists of."""
        return iter(())

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep the task, or all of them, from being run, by one command; see `Control.revoke`.

        Parameters:
            connection: allowed for Celery's sake and without effect.
            terminate: also end what runs already, as `signal` (by default SIGTERM) would.
            wait: wait until workers have answered, up to `timeout` seconds.

        Raises:
            GreenqError: the result belongs to no application.
            BrokerError: the broker fails, or carries no remote control.
        """
        ids, source = [], None
        for leaf in self._leaves():
            if leaf._source is not None:
                ids.append(leaf.id)
                source = leaf._source
            elif leaf is not self:
                leaf.revoke()
            else:
                raise GreenqError(f"task {leaf} cannot be revoked: its result has no application")
        if source is not None:
            source.control.revoke(
                ids, terminate=terminate, signal=signal or "SIGTERM", reply=wait, timeout=timeout or 1.0
            )


def leaves_of(results: Iterable[Any]) -> Iterator[Any]:
    """The results of single calls among these, those of groups' members included."""
    for result in results:
        yield from result._leaves()
