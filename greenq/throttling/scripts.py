"""Limits in Redis: what it does in one step. Times are microseconds of the server's clock.

Under a key there are ``:slots`` (task → end of its lease), ``:owners`` and ``:taken`` (task → process, since
when), ``:last`` (when one was taken last), ``:pace`` (a rate's next start, or how long slots are kept), and
of those that wait ``:line`` (task → place), ``:until`` (when it loses the place if it does not come),
``:places`` and ``:late`` (those that did not come, and when their place is forgotten).
"""

from __future__ import annotations

from greenq.redis.scripts import Script
from greenq.throttling.base import FORGOTTEN, FRONT, GRACE, LONGEST, QUICKEST, TRIES

__all__ = ["ADMIT", "FREE", "HOLD", "LEAVE", "RENEW", "RETAKE", "SECOND"]

SECOND = 1_000_000
KEPT = int(FORGOTTEN * 2000)
"""Milliseconds that nothing may happen under a key before the server forgets it."""

HOLD = Script("""
local reply = {}
for i = 1, #ARGV, 4 do
  local found = redis.call('GET', ARGV[i])
  if found and found ~= ARGV[i + 1] and found ~= ARGV[i + 3] then
    reply[#reply + 1] = found
  else
    redis.call('SET', ARGV[i], ARGV[i + 1], 'PX', ARGV[i + 2])
    reply[#reply + 1] = ''
  end
end
return reply
""")
"""Take keys: key, task, milliseconds, and from whom it may be taken. Returns for each '' or who has it."""

FREE = Script("""
for i = 1, #ARGV, 2 do
  if redis.call('GET', ARGV[i]) == ARGV[i + 1] then redis.call('DEL', ARGV[i]) end
end
""")
"""Give keys back: key and task."""

_TAKE = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function keep(key, parts, least)
  for _, part in ipairs(parts) do redis.call('PEXPIRE', key .. part, {KEPT} + math.ceil(least / 1000)) end
end

local function take(key, id, owner, lease)
  redis.call('ZADD', key .. ':slots', now + lease, id)
  redis.call('HSET', key .. ':owners', id, owner)
  redis.call('HSET', key .. ':taken', id, now)
  redis.call('SET', key .. ':last', now)
  keep(key, {{':slots', ':owners', ':taken', ':last'}}, lease)
end

local function bury(key)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key .. ':slots', '-inf', now)) do
    redis.call('ZREM', key .. ':slots', id)
    redis.call('HDEL', key .. ':owners', id)
    redis.call('HDEL', key .. ':taken', id)
  end
end
"""

ADMIT = Script(
    _TAKE
    + f"""
local function prune(key)
  local gone = redis.call('ZRANGEBYSCORE', key .. ':until', '-inf', now, 'LIMIT', 0, 1000)
  for _, id in ipairs(gone) do
    redis.call('ZREM', key .. ':until', id)
    redis.call('ZREM', key .. ':line', id)
    redis.call('ZADD', key .. ':late', now + {int(FORGOTTEN * SECOND)}, id)
  end
  local forgotten = redis.call('ZRANGEBYSCORE', key .. ':late', '-inf', now, 'LIMIT', 0, 1000)
  for _, id in ipairs(forgotten) do
    redis.call('ZREM', key .. ':late', id)
    redis.call('HDEL', key .. ':places', id)
  end
end

local function ahead_of(key, id)
  prune(key)
  local rank = redis.call('ZRANK', key .. ':line', id)
  if rank then return rank end
  local place = redis.call('HGET', key .. ':places', id)
  if place then return redis.call('ZCOUNT', key .. ':line', '-inf', '(' .. place) end
  return redis.call('ZCARD', key .. ':line')
end

local function when_free(key, id, slots, ahead)
  bury(key)
  if redis.call('ZSCORE', key .. ':slots', id) then return 0 end
  local free = slots - redis.call('ZCARD', key .. ':slots')
  if free > ahead then return 0 end
  local since = now - tonumber(redis.call('GET', key .. ':last') or now)
  local pace = math.max(since, tonumber(redis.call('GET', key .. ':pace') or 0))
  local behind = ahead - math.max(0, free)
  local step = math.min({int(FRONT * SECOND)}, math.max({int(QUICKEST * SECOND)}, pace / (2 * slots)))
  return now + math.min(step * (behind + 1), {int(FRONT * SECOND)} * (1 + math.floor(behind / slots)))
end

local function wait(key, id, due)
  redis.call('HSETNX', key .. ':places', id, redis.call('INCR', ARGV[1]))
  redis.call('ZADD', key .. ':line', redis.call('HGET', key .. ':places', id), id)
  redis.call('ZADD', key .. ':until', due + {int(GRACE * SECOND)}, id)
  redis.call('ZREM', key .. ':late', id)
  keep(key, {{':places', ':line', ':until', ':late'}}, due - now)
end

local function be_done(key, id)
  redis.call('HDEL', key .. ':places', id)
  redis.call('ZREM', key .. ':line', id)
  redis.call('ZREM', key .. ':until', id)
  redis.call('ZREM', key .. ':late', id)
end

local reply, at = {{}}, 2
while at <= #ARGV do
  local id, owner, lease, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local latest, following, refused = 0, {{}}, {{}}
  at = at + 4
  for i = 0, count - 1 do
    local key, slots = ARGV[at + 4 * i], tonumber(ARGV[at + 4 * i + 1])
    local interval, tolerance = tonumber(ARGV[at + 4 * i + 2]), tonumber(ARGV[at + 4 * i + 3])
    local ahead, due = ahead_of(key, id), 0
    if slots > 0 then
      due = when_free(key, id, slots, ahead)
    else
      local start = math.min(tonumber(redis.call('GET', key .. ':pace') or 0), now + interval + tolerance)
      following[key] = math.max(start, now) + interval
      due = start - tolerance + ahead * interval
    end
    if due > now then
      due = math.min(due, now + math.max({int(LONGEST * SECOND)}, ahead * {SECOND // TRIES}))
      refused[key] = due
      latest = math.max(latest, due)
    end
  end
  if latest > 0 then
    for key, due in pairs(refused) do wait(key, id, due) end
  else
    for i = 0, count - 1 do
      local key, slots = ARGV[at + 4 * i], tonumber(ARGV[at + 4 * i + 1])
      if slots > 0 then
        take(key, id, owner, lease)
      else
        local kept = math.ceil((following[key] - now) / 1000) + {KEPT}
        redis.call('SET', key .. ':pace', following[key], 'PX', kept)
      end
      be_done(key, id)
    end
  end
  at = at + 4 * count
  reply[#reply + 1] = math.ceil(latest)
end
return reply
"""
)
"""Let tasks start: the counter of places, then for each its id, process, lease and number of limits, and for
each of these key, slots, interval and tolerance. Returns for each 0 or when it is to ask again.
"""

RENEW = Script(
    _TAKE
    + """
local lost = {}
for i = 2, #ARGV, 3 do
  local key, id = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', key .. ':owners', id) == ARGV[i + 2] then
    redis.call('ZADD', key .. ':slots', now + tonumber(ARGV[1]), id)
    keep(key, {':slots', ':owners', ':taken'}, tonumber(ARGV[1]))
  else
    lost[#lost + 1] = (i - 2) / 3
  end
end
return lost
"""
)
"""Keep slots: the lease, then key, task and process of each. Returns the places of those that are lost."""

RETAKE = Script(
    _TAKE
    + """
for i = 2, #ARGV, 3 do
  local key, id = ARGV[i], ARGV[i + 1]
  bury(key)
  local owner = redis.call('HGET', key .. ':owners', id)
  if not owner or owner == ARGV[i + 2] then take(key, id, ARGV[i + 2], tonumber(ARGV[1])) end
end
"""
)
"""Take slots of tasks that run: the lease, then key, task and process of each."""

LEAVE = Script(
    _TAKE
    + f"""
for i = 1, #ARGV, 3 do
  local key, id = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', key .. ':owners', id) == ARGV[i + 2] then
    local kept = math.max(0, now - tonumber(redis.call('HGET', key .. ':taken', id)))
    redis.call('ZREM', key .. ':slots', id)
    redis.call('HDEL', key .. ':owners', id)
    redis.call('HDEL', key .. ':taken', id)
    local pace = redis.call('GET', key .. ':pace')
    if pace then kept = tonumber(pace) * 0.8 + kept * 0.2 end
    redis.call('SET', key .. ':pace', kept, 'PX', {KEPT})
  end
end
"""
)
"""Give slots back: key, task and process of each."""
