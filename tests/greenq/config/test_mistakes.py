"""Each mistake in a file gives one line: where, what, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq.config import load
from greenq.errors import ConfigError

NAMES = {
    "pool": ["gevent", "threads", "prefork"],
    "serializer": ["json", "msgpack", "yaml", "pickle"],
    "compression": ["gzip", "zstd"],
}
ENVIRON = {"WORD": "abc", "DB_PASSWORD": "hunter2", "EMPTY": ""}

MISTAKES = {
    # names
    "a misspelling": (
        "worker:\n  concurency: 5\n",
        "2: worker.concurency is no setting here; did you mean concurrency?",
    ),
    "a misspelled section": (
        "wroker:\n  pool: gevent\n",
        "1: wroker is no setting here; did you mean worker?",
    ),
    "hyphens": (
        "worker:\n  max-tasks: 5\n",
        "2: worker.max-tasks is no setting here; did you mean max_tasks?",
    ),
    "capitals in the middle": (
        "tasks:\n  timeLimit: 5\n",
        "2: tasks.timeLimit is no setting here; did you mean time_limit?",
    ),
    "a key at the top that belongs in a section": (
        "concurrency: 5\n",
        "1: concurrency is no setting here; it belongs under worker:",
    ),
    "a key in the wrong section": (
        "tasks: {pool: gevent}\n",
        "1: tasks.pool is no setting here; it belongs under worker:",
    ),
    "a key of two sections": (
        "timeout: 5s\n",
        "1: timeout is no setting here; it belongs under broker: or results: or throttling:",
    ),
    "a misspelled key in the wrong section": (
        "tasks: {concurency: 7}\n",
        "1: tasks.concurency is no setting here; did you mean concurrency? it belongs under worker:",
    ),
    "a key of the top in a section": (
        "worker: {accept: [json]}\n",
        "1: worker.accept is no setting here; it belongs at the top level, not under worker:",
    ),
    "a dotted key": ("worker.pool: gevent\n", "1: worker.pool is no setting here; write pool under worker:"),
    "a key like nothing": (
        "log: {zzz: 1}\n",
        "1: log.zzz is no setting here; there are level, format",
    ),
    "a misspelled key of a queue": (
        "queues: {mail: {prority: 1}}\n",
        "1: queues.mail.prority is no setting here; did you mean priority?",
    ),
    "Celery's broker_url": (
        "broker_url: redis://h\n",
        "1: broker_url is no setting here; Celery's broker_url is broker.url here",
    ),
    "Celery's broker_url as Django has it": (
        "CELERY_BROKER_URL: redis://h\n",
        "1: CELERY_BROKER_URL is no setting here; Celery's CELERY_BROKER_URL is broker.url here",
    ),
    "Celery's task_acks_late": (
        "task_acks_late: true\n",
        "1: task_acks_late is no setting here; Celery's task_acks_late is tasks.acks_late here",
    ),
    "Celery's old name": (
        "CELERYD_MAX_TASKS_PER_CHILD: 5\n",
        "1: CELERYD_MAX_TASKS_PER_CHILD is no setting here; "
        "Celery's CELERYD_MAX_TASKS_PER_CHILD is worker.max_tasks here: "
        "counted for a whole process, not for each child",
    ),
    "Celery's name without the section": (
        "worker:\n  prefetch_multiplier: 4\n",
        "2: worker.prefetch_multiplier is no setting here; "
        "Celery's worker_prefetch_multiplier is worker.prefetch here: a number of messages, not a factor",
    ),
    "a setting of Celery without a counterpart": (
        "timezone: Europe/Berlin\n",
        "1: timezone is no setting here; Celery's timezone: times are always UTC; delete it",
    ),
    "a key twice": ("app: a\nlog: {}\napp: b\n", "3: app is already set in line 1; delete one of the two"),
    "a section twice": (
        "worker: {pool: gevent}\nworker: {processes: 2}\n",
        "2: worker is already set in line 1; delete one of the two",
    ),
    # values
    "a word for a number": (
        "worker: {concurrency: ten}\n",
        '1: worker.concurrency must be a whole number, not "ten"',
    ),
    "a quoted number": (
        'worker: {concurrency: "100"}\n',
        '1: worker.concurrency must be a whole number, not "100"; write 100 without quotes',
    ),
    "a number with separators": (
        "worker: {concurrency: 1_000}\n",
        '1: worker.concurrency must be a whole number, not "1_000"; write 1000',
    ),
    "a fraction": ("worker: {concurrency: 1.5}\n", "1: worker.concurrency must be a whole number, not 1.5"),
    "a whole number with a point": (
        "worker: {concurrency: 10.0}\n",
        "1: worker.concurrency must be a whole number, not 10.0; write 10",
    ),
    "true for a number": (
        "worker: {processes: true}\n",
        "1: worker.processes must be a whole number, not true",
    ),
    "too small": ("worker: {concurrency: 0}\n", "1: worker.concurrency must be at least 1, not 0"),
    "too large": ("tasks: {priority: 10}\n", "1: tasks.priority must be at most 9, not 10"),
    "huge": (
        f"worker: {{concurrency: {'9' * 5000}}}\n",
        "1: worker.concurrency must be at most 1000000, not a huge number",
    ),
    "a time with a spoken unit": (
        "worker: {lease: 30 sec}\n",
        '1: worker.lease must be a time such as 30s, 5m, 1h, 1d or 250ms, not "30 sec"; write 30s',
    ),
    "a time too short": ("worker: {lease: 10ms}\n", '1: worker.lease must be at least 1s, not "10ms"'),
    "a negative time": ("worker: {lease: -5s}\n", '1: worker.lease must not be negative: "-5s"'),
    "an endless time": (
        "worker: {lease: .inf}\n",
        "1: worker.lease must be a time such as 30s, 5m, 1h, 1d or 250ms, not inf",
    ),
    "a time of centuries": (
        "worker: {lease: 99999999d}\n",
        '1: worker.lease must be at most 36500d, not "99999999d"',
    ),
    "a word for no limit": (
        "tasks: {time_limit: never}\n",
        '1: tasks.time_limit must be a time such as 30s, 5m, 1h, 1d or 250ms, not "never"; '
        "write null for none",
    ),
    "zero for no limit": (
        "tasks: {time_limit: 0}\n",
        "1: tasks.time_limit must be at least 10ms, not 0; write null for none",
    ),
    "a size without B": (
        "tasks: {compress_over: 4K}\n",
        '1: tasks.compress_over must be a size such as 4096, 64KiB or 10MB, not "4K"; write 4KiB',
    ),
    "half a byte": (
        "tasks: {compress_over: 0.5B}\n",
        '1: tasks.compress_over must be a whole number of bytes, not "0.5B"; write 1',
    ),
    "yes": ("tasks: {acks_late: yes}\n", '1: tasks.acks_late must be true or false, not "yes"; write true'),
    "off": ("tasks: {eager: off}\n", '1: tasks.eager must be true or false, not "off"; write false'),
    "true in quotes": (
        'tasks: {acks_late: "true"}\n',
        '1: tasks.acks_late must be true or false, not "true"; write true without quotes',
    ),
    "a number for text": ("worker: {node: 5}\n", '1: worker.node must be text, not 5; put it in quotes: "5"'),
    "nothing after the colon": (
        "tasks:\n  time_limit:\n",
        "2: tasks.time_limit has no value; write one, or delete the line, or write null",
    ),
    "null for what must be": (
        "worker: {lease: null}\n",
        "1: worker.lease must be a time such as 30s, 5m, 1h, 1d or 250ms, not null; "
        "delete the line for the default",
    ),
    "a value that is not among the choices": (
        "log: {level: warn}\n",
        '1: log.level must be one of debug, info, warning, error, critical, not "warn"; '
        "did you mean warning?",
    ),
    "text for a list": (
        "worker: {queues: 'celery, mail'}\n",
        '1: worker.queues must be a list, not "celery, mail"; write [celery, mail]',
    ),
    "an empty list": ("accept: []\n", "1: accept must name at least one: []; the default is [json, msgpack]"),
    "a name twice in a list": (
        "worker:\n  queues:\n    - a\n    - a\n",
        '4: worker.queues must not name anything twice: "a"; delete one of the two',
    ),
    "a queue with a space": (
        "tasks: {queue: my mail}\n",
        '1: tasks.queue must be a queue\'s name, without spaces, commas or control characters, not "my mail"',
    ),
    "a queue with too long a name": (
        f"tasks: {{queue: {'q' * 256}}}\n",
        f'1: tasks.queue must be at most 255 bytes, as queue names are in RabbitMQ, not "{"q" * 57}..."',
    ),
    "text for a section": (
        "log: info\n",
        '1: log must be a section, not "info"; its keys are level, format',
    ),
    "a list for a section": (
        "log: [info]\n",
        "1: log must be a section, not a list; its keys are level, format",
    ),
    "a mapping for a list": (
        "routes:\n  mail.*: mail\n",
        '2: routes must be a list such as [{match: "mail.*", queue: mail}], not a mapping',
    ),
    "a list for a mapping": (
        "queues: [mail]\n",
        "1: queues must be a mapping such as {mail: {priority: 5}}, not a list",
    ),
    "a route without a queue": (
        "routes:\n  - {match: a}\n",
        "2: routes[0] says nothing about its tasks; give it a queue",
    ),
    "an address without a scheme": (
        "broker: {url: 'localhost:6379'}\n",
        "1: broker.url must be an address such as sqlite:///greenq.db, "
        'not "localhost:6379"; start with the scheme, then ://',
    ),
    "a file's path for a module": (
        "app: shop/tasks.py\n",
        '1: app must be module or module:attribute, such as shop.tasks:app, not "shop/tasks.py"; '
        "write shop.tasks",
    ),
    "a dot for the colon": (
        "serializers: {cbor: shop.codecs.Cbor}\n",
        "1: serializers.cbor must be module:Class, such as shop.codecs:Cbor, "
        'not "shop.codecs.Cbor"; write shop.codecs:Cbor',
    ),
    "an unknown placeholder": (
        "worker: {node: 'w@%d'}\n",
        '1: worker.node knows only %h, %n, %i, and %% for a percent sign: "w@%d"; %d is none of them',
    ),
    # between settings
    "a soft limit beyond the hard one": (
        "tasks:\n  soft_time_limit: 60s\n  time_limit: 30s\n",
        "2: tasks.soft_time_limit is 1m; make it shorter than tasks.time_limit, which is 30s (greenq.yaml:3)",
    ),
    "a serializer whose messages would be refused": (
        "tasks: {serializer: pickle}\n",
        "1: tasks.serializer is pickle, which accept does not list, so its own messages would be refused; "
        "write accept: [json, msgpack, pickle]",
    ),
    "a queue's serializer that is not accepted": (
        "queues: {a: {serializer: yaml}}\n",
        "1: queues.a.serializer is yaml, which accept does not list, so its own messages would be refused; "
        "write accept: [json, msgpack, yaml]",
    ),
    "results that could not be read": (
        "results: {serializer: yaml}\n",
        "1: results.serializer is yaml, which accept does not list, so results could not be read; "
        "write accept: [json, msgpack, yaml]",
    ),
    "a route behind one that takes all": (
        'routes:\n  - {match: "*", queue: a}\n  - {match: b, queue: b}\n',
        '3: routes[1] is never reached, since routes[0] takes "*" first; put it earlier, or delete it',
    ),
    "a pool that there is not": (
        "worker: {pool: gevnt}\n",
        '1: worker.pool names no pool: "gevnt"; did you mean gevent?',
    ),
    "a misspelled serializer in accept is one mistake": (
        "accept: [jsn]\n",
        '1: accept names no serializer: "jsn"; did you mean json?',
    ),
    "a compression that there is not": (
        "results: {compression: rar}\n",
        '1: results.compression names no compression: "rar"; there are gzip, zstd',
    ),
    # variables
    "a variable that is not set": (
        "app: ${NOWHERE}\n",
        "1: app needs the environment variable NOWHERE, which is not set; "
        "set it, or give a default: ${NOWHERE:-...}",
    ),
    "a brace left open": (
        'app: "${WORD"\n',
        "1: app has a ${ that is never closed; end it with }, or write $${ for a plain ${",
    ),
    "a form that the shell has": (
        'app: "${WORD:?no}"\n',
        "1: app has a malformed ${...}; write ${NAME} or ${NAME:-default}, or $${ for a plain ${",
    ),
    "a variable of the wrong type": (
        "worker:\n  concurrency: ${WORD}\n",
        '2: worker.concurrency must be a whole number, not "abc" (from "${WORD}")',
    ),
    "a secret variable of the wrong type": (
        "worker:\n  concurrency: ${DB_PASSWORD}\n",
        '2: worker.concurrency must be a whole number, not "${DB_PASSWORD}"',
    ),
    # YAML
    "a tab": ("worker:\n\tpool: gevent\n", "2: a tab stands where only spaces may; indent with spaces"),
    "an indentation too small": (
        "worker:\n  pool: gevent\n lease: 3s\n",
        "3: the indentation fits no line above; indent the keys of one section alike",
    ),
    "an indentation too large": (
        "worker:\n  pool: gevent\n    lease: 3s\n",
        "3: a colon is out of place; indent like the lines around it, or put text that holds a colon in "
        "quotes",
    ),
    "a key without a colon": ("log: {}\nworker\n", "2: a key has no colon; write `key: value`"),
    "a quote left open": ('log: {}\napp: "shop\n\n', "2: a quote is opened here and never closed"),
    "a list left open": (
        "accept: [json, msgpack\nlog: {}\n",
        "1: a list's [ is not closed; separate its entries by commas and end it with ]",
    ),
    "a mapping left open": (
        "log: {level: info\napp: x\n",
        "1: a mapping's { is not closed; separate its entries by commas and end it with }",
    ),
    "a reserved character": (
        "worker: {node: @host}\n",
        "1: a value starts with a character that YAML reserves; put it in quotes",
    ),
    "a backslash in double quotes": (
        'app: "a\\d"\n',
        "1: a backslash in double quotes is special; double it, or use single quotes",
    ),
    "an alias of nothing": (
        "app: *secret\n",
        "1: *name needs an &name above it; put text that starts with * in quotes",
    ),
    "a second document": (
        "app: a\n---\napp: b\n",
        "2: a second document starts here (---); keep one in the file",
    ),
    "a list as the whole": ("- app: a\n", "1: the file must hold lines of `key: value`"),
    "a tag": (
        "app: !!python/name:os.system x\n",
        "1: app has a tag (!name); write the plain value",
    ),
    "a list as a key": ("? [a]\n: b\n", "1: a key must be plain text"),
    "a merge of text": ("worker:\n  <<: gevent\n", "2: << takes a mapping, or a list of them: <<: *name"),
    "an alias that holds itself": (
        "worker: {queues: &a [*a]}\n",
        "1: lists or mappings are nested too deeply, or an alias holds itself",
    ),
    "a control character": (
        "log: {}\napp: a\x07b\n",
        "2: a control character is not allowed here; delete it or write it as an escape",
    ),
}


def mistakes_in(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    (folder / "greenq.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(environ=ENVIRON, names=NAMES)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(("text", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gives_one_line(
    text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mistakes_in(text, tmp_path, monkeypatch) == [f"greenq.yaml:{line}"]


def test_all_mistakes_are_reported_together_in_the_order_of_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "tasks:\n  priority: 11\nworker:\n  pol: x\n  lease: ${NOWHERE}\ntasks: {}\n"
    assert mistakes_in(text, tmp_path, monkeypatch) == [
        "greenq.yaml:2: tasks.priority must be at most 9, not 11",
        "greenq.yaml:4: worker.pol is no setting here; did you mean pool?",
        "greenq.yaml:5: worker.lease needs the environment variable NOWHERE, which is not set; "
        "set it, or give a default: ${NOWHERE:-...}",
        "greenq.yaml:6: tasks is already set in line 1; delete one of the two",
    ]


def test_hundreds_of_mistakes_do_not_fill_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"zz{i}: 1\n" for i in range(300))
    lines = mistakes_in(text, tmp_path, monkeypatch)
    assert len(lines) == 51
    assert lines[-1] == "and 250 more mistakes"


def test_a_mistake_in_one_setting_makes_no_second_one_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "accept: [5]\ntasks:\n  serializer: yaml\n  soft_time_limit: 9d\n  time_limit: soon\n"
    lines = mistakes_in(text, tmp_path, monkeypatch)
    assert [line.partition(" ")[0] for line in lines] == ["greenq.yaml:1:", "greenq.yaml:5:"]


def test_a_broken_variable_in_an_entry_makes_no_second_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "routes:\n  - {match: a, queue: '${NOWHERE}'}\n"
    lines = mistakes_in(text, tmp_path, monkeypatch)
    assert len(lines) == 1
    assert "NOWHERE" in lines[0]
