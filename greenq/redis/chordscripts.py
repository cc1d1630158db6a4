"""Counting the members of chords, in the keys that Celery 5.7 uses, so that its workers count along.

Beside the group's own key, ``celery-taskset-meta-<group>``: ``.j`` has what the members returned, sorted by
their index, ``.d`` who is in it, ``.s`` how many there are to be, ``.t`` how many more, ``.c`` who sends the
body, or that it was sent. greenq's own are ``.a``, the members that were added while the chord ran, and two
keys for all chords: when the body must have been sent, and what somebody else needs to send it.

Source: celery.backends.redis (``on_chord_part_return`` and its scripts).
"""

from __future__ import annotations

from greenq.redis.script import Script

__all__ = ["CHORD_SCRIPTS", "CLOSE", "COUNT", "COUNTING", "EXTEND", "GROW", "OPEN", "RECLAIM"]

DONE_KEPT = 600
"""Seconds for which it is remembered that a chord is done."""
PART_FIELDS, OPENING_FIELDS = 16, 9

COUNTING = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

local function text(command, ...)
  local found = redis.pcall(command, ...)
  if type(found) == 'table' then return false end
  return found
end

local function open_(at)
  local s, t, c, g, a, size, seconds, anew, shape = unpack(ARGV, at, at + 8)
  if anew == '1' then
    redis.call('DEL', c)
  elseif text('GET', c) == 'done' then
    return
  end
  redis.call('SET', s, size)
  if shape ~= '' then redis.call('SET', g, shape) end
  if seconds ~= '' then
    redis.call('EXPIRE', s, seconds)
    if shape ~= '' then redis.call('EXPIRE', g, seconds) end
  end
end

local function count(at)
  local j, t, s, d, g, c = unpack(ARGV, at, at + 5)
  local due, records, group = unpack(ARGV, at + 6, at + 8)
  local member, score, value, seconds, token, claim, record = unpack(ARGV, at + 9, at + 15)
  if text('GET', c) == 'done' then return false end
  local kind = redis.call('TYPE', j).ok
  local list = kind == 'list'
  if not list and kind ~= 'zset' and kind ~= 'none' then return false end
  local known = redis.pcall('SISMEMBER', d, member)
  if type(known) == 'table' then return false end
  if known == 0 then
    if list then redis.call('RPUSH', j, value) else redis.call('ZADD', j, score, value) end
    redis.call('SADD', d, member)
  end
  if seconds ~= '' then
    for _, key in ipairs({j, t, s, d, g}) do redis.call('EXPIRE', key, seconds) end
  end
  local size = text('GET', s)
  if not size then return false end
  local ready = redis.call(list and 'LLEN' or 'ZCARD', j)
  if ready ~= tonumber(size) + tonumber(text('GET', t) or 0) then return false end
  if text('GET', c) ~= token and not redis.call('SET', c, token, 'NX', 'PX', claim) then return false end
  redis.call('ZADD', due, clock() + claim, group)
  if record ~= '' then redis.call('HSET', records, group, record) end
  return true
end
"""
"""Lua functions on the arguments from a place on; see `part` and `opening` in `greenq.redis.chords`."""

COUNT = Script(
    COUNTING
    + f"""
local complete = {{}}
for at = 1, #ARGV, {PART_FIELDS} do
  if count(at) then complete[#complete + 1] = (at - 1) / {PART_FIELDS} end
end
return complete
"""
)
"""Count members; returns the places of those that complete their chord, which is claimed then."""

OPEN = Script(COUNTING + f"for at = 1, #ARGV, {OPENING_FIELDS} do open_(at) end return 1")
"""Say how many members chords have."""

GROW = Script("""
local t, a, seconds = ARGV[1], ARGV[2], ARGV[3]
for i = 4, #ARGV do
  if redis.call('SADD', a, ARGV[i]) == 1 then redis.call('INCR', t) end
end
if seconds ~= '' then
  redis.call('EXPIRE', t, seconds)
  redis.call('EXPIRE', a, seconds)
end
return 1
""")
"""Add members to a running chord: its keys ``.t`` and ``.a``, how long they last, their ids."""

EXTEND = Script("""
local c, s, due, group, token, claim = unpack(ARGV)
local now = redis.call('TIME')
local owner = redis.call('GET', c)
if owner and owner ~= token then return 0 end
if not owner and redis.call('EXISTS', s) == 0 then return 0 end
redis.call('SET', c, token, 'PX', claim)
redis.call('ZADD', due, now[1] * 1000 + now[2] / 1000 + claim, group)
return 1
""")
"""Go on with a claim, also one that ran out while nobody else wanted it."""

RECLAIM = Script("""
local c, s, due, records, group, token, claim = unpack(ARGV)
local owner = redis.call('GET', c)
if owner == 'done' or redis.call('EXISTS', s) == 0 then
  redis.call('ZREM', due, group)
  redis.call('HDEL', records, group)
  return false
end
local now = redis.call('TIME')
redis.call('ZADD', due, now[1] * 1000 + now[2] / 1000 + claim, group)
if owner then return false end
redis.call('SET', c, token, 'PX', claim)
return redis.call('HGET', records, group)
""")
"""Claim a chord whose claim has run out; returns what is needed to send its body."""

CLOSE = Script(f"""
local c, j, t, s, d, a, due, records, group, token, kept = unpack(ARGV)
redis.call('ZREM', due, group)
redis.call('HDEL', records, group)
if redis.call('GET', c) ~= token then return 0 end
if kept == '' then redis.call('DEL', j) else redis.call('EXPIRE', j, kept) end
redis.call('DEL', t, s, d, a)
redis.call('SET', c, 'done', 'EX', {DONE_KEPT})
return 1
""")
"""Remember that the chord has ended, and forget what was counted; of one that failed some seconds later."""

CHORD_SCRIPTS = COUNT, OPEN, GROW, EXTEND, RECLAIM, CLOSE
