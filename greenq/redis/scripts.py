"""What Redis does in one step: take and lease, settle, give back. Bodies are never read or rewritten here.

A lease is a field of the process's hash: ``<nonce><number>:<list>``, with the raw message as its value. The
number rises with every fetch, so that sorting fields sorts by age; the list is where the message came from.

All keys come as arguments, as what a script returns depends on them alone where there is no cluster.
"""

from __future__ import annotations

from greenq.redis.chordscripts import CHORD_SCRIPTS, COUNTING, OPENING_FIELDS, PART_FIELDS
from greenq.redis.script import Script

__all__ = [
    "ACKNOWLEDGE", "CHARGE", "COMMIT", "FETCH", "GIVE_BACK", "PURGE", "REPLAY", "RESTORE", "SOURCES", "STORE",
    "TAKE_OVER", "Script",
]  # fmt: skip

ATTEMPTS_KEPT = 7 * 86400
"""Seconds that a count of deaths is kept after its last rise: a Celery worker may have ended the message."""
HEAD = 14
"""Characters of a field before the colon."""
PROMOTED = 1000
"""How many due messages one fetch moves at most: a script must not hold the server for long."""

SLICE, BYTES = 16, 16_000_000
"""Messages that are taken first, then four times as many, and so on until they have so many bytes: a thousand
large ones at once would need the server's memory twice over."""


_IDENTITY = """
local function identity(message)
  if #message > 4096 then
    message = #message .. string.sub(message, 1, 1024) .. string.sub(message, -1024)
  end
  return redis.sha1hex(message)
end
"""
"""A message is counted by what it is: the same bytes come back after each death."""

FETCH = Script(
    _IDENTITY
    + f"""
local leased, lease, processes, attempts = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local process, milliseconds = ARGV[5], ARGV[6]
local left, nonce, number, asks = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9]), ARGV[10] == '1'
if redis.call('EXISTS', lease) == 0 then
  redis.call('SET', lease, '', 'PX', milliseconds)
  redis.call('HSET', processes, process, milliseconds)
end
local counted = redis.call('EXISTS', attempts) == 1
local reply, problem, now, due, bytes = {{-1}}, false, nil, nil, 0

local function promote(delayed)
  if redis.call('ZCARD', delayed) == 0 then return end
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + time[2] / 1000
  end
  if redis.call('ZCOUNT', delayed, '-inf', now) > 0 then
    local ripe = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, {PROMOTED})
    for _, member in ipairs(ripe) do
      local size = tonumber(string.sub(member, 1, 5))
      local list, message = string.sub(member, 6, 5 + size), string.sub(member, 6 + size + {HEAD})
      local moved = redis.pcall('LPUSH', list, message)
      if type(moved) == 'number' then redis.call('ZREM', delayed, member) else problem = moved.err end
    end
  end
  if asks then
    local following = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    if following then due = math.min(due or following, following) end
  end
end

local function take(list, most, place)
  local messages = redis.pcall('RPOP', list, most)
  if not messages then return 0 end
  if messages.err then
    problem = messages.err
    return 0
  end
  local pairs_, suffix = {{}}, ':' .. list
  for i, message in ipairs(messages) do
    pairs_[#pairs_ + 1] = nonce .. string.format('%010d', number) .. suffix
    pairs_[#pairs_ + 1] = message
    number = number + 1
    bytes = bytes + #message
    if #pairs_ == 2000 or i == #messages then
      redis.call('HSET', leased, unpack(pairs_))
      pairs_ = {{}}
    end
  end
  local deaths = false
  if counted then
    deaths = {{}}
    for i, message in ipairs(messages) do
      deaths[i] = tonumber(redis.call('HGET', attempts, identity(message)) or 0)
    end
  end
  reply[#reply + 1] = place
  reply[#reply + 1] = deaths
  reply[#reply + 1] = messages
  return #messages
end

local limited = false
for round = 1, 2 do
  local at, place = 12, 0
  for _ = 1, tonumber(ARGV[11]) do
    local delayed, share, lists = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    if round == 1 then promote(delayed) else share = left end
    limited = limited or share < left
    share = math.min(share, left)
    for i = at + 3, at + 2 + lists do
      local slice = {SLICE}
      while share > 0 and bytes < {BYTES} do
        local wanted = math.min(share, slice)
        local taken = take(ARGV[i], wanted, place)
        share, left, slice = share - taken, left - taken, slice * 4
        if taken < wanted then break end
      end
      place = place + 1
    end
    at = at + 3 + lists
  end
  if left <= 0 or bytes >= {BYTES} or not limited then break end
end
if due then reply[1] = math.max(0, math.ceil(due - now)) end
if problem then reply[#reply + 1] = problem end
return reply
"""
)
"""Lease up to so many messages.

Arguments: the process's keys and name, its lease in milliseconds, how many, nonce, first number, whether to
tell when the next delayed one is due, how many queues; then for each queue its delayed set, its share in the
first round, how many lists, the lists.
Returns in how many milliseconds the next delayed message is due, or -1; for each list with something its
place, the counts of deaths or nil, the messages; and perhaps an error.
"""

ACKNOWLEDGE = Script("""
local lost = {}
for i = 2, #ARGV do
  if redis.call('HDEL', ARGV[1], ARGV[i]) == 0 then lost[#lost + 1] = i - 2 end
end
return lost
""")
"""End leases; returns the places of those that were lost."""

STORE = Script("""
local undecided = {}
for i = 1, #ARGV, 4 do
  local key, value, lasts, expected = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then found = false end
  if (found or '') ~= expected then
    undecided[#undecided + 1] = (i - 1) / 4
  else
    if lasts == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', lasts) end
    redis.call('PUBLISH', key, value)
  end
end
return undecided
""")
"""Store results over what the caller has seen there: four arguments each, key, value, milliseconds, seen.

Returns the places of those where something else stands now; the caller looks at it and decides.
"""

COMMIT = Script(
    _IDENTITY
    + COUNTING
    + f"""
local leased, attempts = ARGV[1], ARGV[2]
local at, reply, time = 3, {{}}, nil
local function next_()
  at = at + 1
  return ARGV[at - 1]
end
local function places(fields)
  local found = {{}}
  for i = 1, tonumber(next_()) do
    found[i] = at
    at = at + fields
  end
  return found
end
local function as_seen(i) return (text('GET', ARGV[i]) or '') == ARGV[i + 3] end
local function keep(i)
  local key, value, lasts = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if lasts == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', lasts) end
  redis.call('PUBLISH', key, value)
end
while at <= #ARGV do
  local code, field, raw = next_(), next_(), nil
  local extra = {{}}
  for i = 1, tonumber(next_()) do extra[i] = next_() end
  local children = at + 1
  at = children + 2 * tonumber(ARGV[at])
  local results, state, lists = at, 1, nil
  at = at + 1
  if ARGV[results] == '1' then
    at = at + 4
    if not as_seen(results + 1) then state = 2 end
  elseif ARGV[results] == '2' then
    lists = {{places({OPENING_FIELDS}), places(4), places({PART_FIELDS})}}
    for _, i in ipairs(lists[2]) do
      if not as_seen(i) then state = 2 end
    end
  end
  if state == 1 then
    for i = children, results - 1, 2 do
      local kind = redis.call('TYPE', ARGV[i]).ok
      if kind ~= 'list' and kind ~= 'none' then state = 3 end
    end
  end
  if state == 1 and code ~= 'N' then
    if code ~= 'A' then raw = redis.call('HGET', leased, field) end
    if redis.call('HDEL', leased, field) == 0 then state = 0 end
  end
  if state == 1 then
    for i = children, results - 1, 2 do redis.call('LPUSH', ARGV[i], ARGV[i + 1]) end
    if ARGV[results] == '1' then keep(results + 1) end
    local complete = {{1}}
    if lists then
      for _, i in ipairs(lists[1]) do open_(i) end
      for _, i in ipairs(lists[2]) do keep(i) end
      for place, i in ipairs(lists[3]) do
        if count(i) then complete[#complete + 1] = place - 1 end
      end
    end
    local list = string.sub(field, {HEAD + 2})
    if code == 'Q' then
      if type(redis.pcall('RPUSH', list, raw)) ~= 'number' then
        redis.call('HSET', leased, field, raw)
        state = 3
      end
    elseif code == 'T' then
      if not time then
        local now = redis.call('TIME')
        time = now[1] * 1000 + now[2] / 1000
      end
      local member = string.format('%05d', #list) .. list .. string.sub(field, 1, {HEAD}) .. raw
      redis.call('ZADD', extra[1], time + tonumber(extra[2]), member)
    elseif code == 'D' then
      redis.call('ZADD', extra[1], extra[2], extra[3])
      redis.call('HSET', extra[4], extra[3], extra[6])
      redis.call('HSET', extra[5], extra[3], raw)
    end
    if code == 'a' or code == 'D' then redis.call('HDEL', attempts, identity(raw)) end
    local fetched = state == 1 and (code == 'Q' and extra[1] or code == 'T' and extra[3])
    if fetched and fetched ~= '0' then
      redis.call('HSET', attempts, identity(raw), fetched)
      redis.call('EXPIRE', attempts, {ATTEMPTS_KEPT})
    end
    if complete[2] and state == 1 then state = complete end
  end
  reply[#reply + 1] = state
end
return reply
"""
)
"""Publish, store and settle outcomes, each as a whole or not at all.

Arguments: the lease hash and the hash of deaths; then for each outcome a code (N nothing to settle, A
acknowledge, a the same with deaths to forget, Q requeue, T put off, D dead-letter), the field, how many
extras, the extras (of Q and T the last is the count of deaths that it was fetched with); how many children,
list and message of each; 0, or 1 with the result's key, value, milliseconds and what the caller has seen
there; or 2, and how many openings of chords, the openings, how many results, each as above, how many parts of
chords, the parts.
Returns for each: 1 done (a list that begins with it if parts complete chords: their places follow), 0 lease
lost, 2 another result stands there, 3 a list is something else.
"""

GIVE_BACK = Script(
    _IDENTITY
    + f"""
local leased, lease, processes, attempts = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local process, charge, dead, first, after = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
if dead == '1' and redis.call('EXISTS', lease) == 1 then return 0 end
local fields, all, count = {{}}, true, 0
for _, field in ipairs(redis.call('HKEYS', leased)) do
  local head = string.sub(field, 1, {HEAD})
  if first == '' or (head >= first and head < after) then fields[#fields + 1] = field end
end
table.sort(fields, function(one, other) return one > other end)
for _, field in ipairs(fields) do
  local raw = redis.call('HGET', leased, field)
  local pushed = redis.pcall('RPUSH', string.sub(field, {HEAD + 2}), raw)
  if type(pushed) == 'number' then
    redis.call('HDEL', leased, field)
    count = count + 1
    if charge == '1' then
      redis.call('HSETNX', attempts, identity(raw), 1)
      redis.call('EXPIRE', attempts, {ATTEMPTS_KEPT})
    end
  else
    all = false
  end
end
if first == '' and all then
  redis.call('DEL', lease)
  redis.call('HDEL', processes, process)
end
return count
"""
)
"""Return what a process holds to the front of the lists where it came from; how many they were.

Arguments: the process's keys and name, whether they are suspect now, whether only if its lease ran out,
and the first head and the one after the last; empty for all.
"""

CHARGE = Script(
    _IDENTITY
    + f"""
local reply = {{}}
for i = 3, #ARGV, 2 do
  local raw = redis.call('HGET', ARGV[1], ARGV[i])
  if raw then redis.call('HSET', ARGV[2], identity(raw), ARGV[i + 1]) end
  reply[#reply + 1] = raw and 1 or 0
end
redis.call('EXPIRE', ARGV[2], {ATTEMPTS_KEPT})
return reply
"""
)
"""Set the count of deaths of leased messages: the lease hash, the hash of deaths; then fields and counts.

Returns for each whether it is still leased.
"""

TAKE_OVER = Script(
    _IDENTITY
    + """
local held, leased, lease, processes, attempts, process, milliseconds = unpack(ARGV, 1, 7)
if redis.call('EXISTS', lease) == 0 then
  redis.call('SET', lease, '', 'PX', milliseconds)
  redis.call('HSET', processes, process, milliseconds)
end
local reply = {}
for i = 8, #ARGV, 2 do
  local raw = redis.call('HGET', held, ARGV[i])
  if raw then
    redis.call('HDEL', held, ARGV[i])
    redis.call('HSET', leased, ARGV[i + 1], raw)
  end
  reply[#reply + 1] = raw and tonumber(redis.call('HGET', attempts, identity(raw)) or 0) or -1
end
return reply
"""
)
"""Lease what another process holds: its lease hash, this process's keys and name, its lease in milliseconds;
then the fields there and here. Returns for each its count of deaths, or -1 if it was not held any more.
"""

RESTORE = Script("""
if redis.call('HGET', ARGV[1], ARGV[3]) ~= ARGV[4] then return 0 end
redis.call('ZREM', ARGV[2], ARGV[3])
redis.call('HDEL', ARGV[1], ARGV[3])
for i = 5, #ARGV, 2 do redis.call('RPUSH', ARGV[i], ARGV[i + 1]) end
return 1
""")
"""Return what a Celery worker left: kombu's hash and index, the tag, what is there, lists and messages."""

PURGE = Script("""
local count = redis.call('ZCARD', ARGV[1])
redis.call('DEL', ARGV[1])
for i = 2, #ARGV do
  local size = redis.pcall('LLEN', ARGV[i])
  if type(size) == 'number' then
    count = count + size
    redis.call('DEL', ARGV[i])
  end
end
return count
""")
"""Drop the delayed set and the lists of a queue; how many messages they held."""

REPLAY = Script(
    _IDENTITY
    + """
local raw = redis.call('HGET', ARGV[2], ARGV[4])
if not raw then return 0 end
redis.call('LPUSH', ARGV[5], raw)
redis.call('HDEL', ARGV[1], ARGV[4])
redis.call('HDEL', ARGV[2], ARGV[4])
redis.call('ZREM', ARGV[3], ARGV[4])
redis.call('HDEL', ARGV[6], identity(raw))
return 1
"""
)
"""Send a dead letter to its list: the hashes of letters and of raw messages, the set, key, list, deaths."""

_ALL = FETCH, ACKNOWLEDGE, STORE, COMMIT, GIVE_BACK, CHARGE, TAKE_OVER, RESTORE, PURGE, REPLAY, *CHORD_SCRIPTS
SOURCES = tuple(script.source for script in _ALL)
