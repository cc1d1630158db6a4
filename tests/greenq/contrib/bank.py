"""An application whose tasks use a database through SQLAlchemy, in every way that could keep a connection."""

import os
import time

from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from greenq import GreenQ
from greenq.contrib.sqlalchemy import ReleaseConnections

engine = create_engine(
    os.environ["BANK_DATABASE"], pool_size=int(os.environ["BANK_POOL"]), max_overflow=0, pool_timeout=60
)
Session = scoped_session(sessionmaker(engine))
kept = []
app = GreenQ("bank", middleware=[ReleaseConnections(Session)])


def ask(seconds):
    return text(f"SELECT pg_sleep({seconds}), pg_backend_pid()")


@app.task
def scoped(seconds):
    """A session that nobody removes."""
    return Session.execute(ask(seconds)).one()[1]


@app.task
def forgotten(seconds):
    """A connection that nobody closes, and that something refers to."""
    connection = engine.connect()
    kept.append(connection)
    return connection.execute(ask(seconds)).one()[1]


@app.task
def careful(seconds):
    with engine.begin() as connection:
        return connection.execute(ask(seconds)).one()[1]


@app.task
def fails(how, seconds):
    HOW[how](seconds)
    raise ValueError("after the query")


@app.task
def wrong():
    """The database itself refuses."""
    Session.execute(text("SELECT 1/0"))


@app.task
def rests(seconds):
    """Holds its connection, but asks nothing."""
    Session.execute(ask(0))
    time.sleep(seconds)


HOW = {"scoped": scoped, "forgotten": forgotten, "careful": careful, "rests": rests}


@app.task(soft_time_limit=0.5)
def soft(how):
    HOW[how](60)


@app.task(time_limit=0.5)
def hard(how):
    HOW[how](60)
