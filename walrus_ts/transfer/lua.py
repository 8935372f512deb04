"""What a consumer has the server do in one step."""

from __future__ import annotations

from walrus_ts.transfer.script import Script

# Moves rows to the dead letters, each in one step with its acknowledgement; a row that is no longer pending, or that
# has been delivered again meanwhile, is left alone. Returns how many were moved, and how many the stream no longer
# holds. A row with more values than Lua can pass on is moved without them: the entry itself stays in its stream.
# KEYS: stream, dead letters. ARGV: group, consumer, whose rows ('' for anybody's), reason, then id and deliveries of
# each row.
BURY = Script(b"""
local moved, lost = 0, 0
for i = 5, #ARGV, 2 do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if row and row[4] <= tonumber(ARGV[i + 1]) and (ARGV[3] == '' or row[2] == ARGV[3]) then
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    if entry then
      local letter = {'id', ARGV[i], 'deliveries', ARGV[i + 1], 'group', ARGV[1], 'consumer', ARGV[2],
        'reason', ARGV[4]}
      if #entry[2] < 7000 then
        for at = 1, #entry[2], 2 do
          table.insert(letter, '.' .. entry[2][at])
          table.insert(letter, entry[2][at + 1])
        end
      end
      redis.call('XADD', KEYS[2], '*', unpack(letter))
      moved = moved + 1
    else
      lost = lost + 1
    end
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  end
end
return {moved, lost}
""")

# Hands rows back as if they had not been delivered, those that are still the consumer's and not handed back yet.
# KEYS: stream. ARGV: group, consumer, idle milliseconds, then id and deliveries of each row.
HAND_BACK = Script(b"""
for i = 4, #ARGV, 2 do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if row and row[4] == tonumber(ARGV[i + 1]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3],
      'RETRYCOUNT', row[4] - 1, 'JUSTID')
  end
end
""")

# Removes a consumer that has nothing pending: with its pending rows, the server would forget these.
# KEYS: stream. ARGV: group, consumer.
LEAVE = Script(b"""
local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not rows.err and #rows == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
""")

# Begins the time anew after which rows may be claimed, of those that are still the consumer's; returns the others.
# KEYS: stream. ARGV: group, consumer, then ids.
EXTEND = Script(b"""
local gone = {}
for i = 3, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    table.insert(gone, ARGV[i])
  end
end
return gone
""")

# Runs commands and acknowledges rows, if all rows are still the consumer's and the guards hold.
# KEYS: the rows' streams, then of each guard a stream and its schema record, then those of the commands, in a cluster.
# ARGV: group, consumer; the number of streams, and of each how many ids and these; the number of guards, and of each
# the stream's last id and the record ('' where there is none); the number of commands, and of each how many arguments
# and these.
# Returns 'lost', rows that are no longer pending and rows that are another consumer's; or 'changed'; or 'failed', the
# number of the command and the error; or 'done' and the commands' replies.
COMMIT = Script(b"""
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local group, consumer = take(), take()
local rows, gone, taken = {}, 0, 0
local streams = tonumber(take())
for s = 1, streams do
  rows[s] = {}
  for n = 1, tonumber(take()) do
    local id = take()
    local row = redis.call('XPENDING', KEYS[s], group, id, id, 1)[1]
    if not row then
      gone = gone + 1
    elseif row[2] ~= consumer then
      taken = taken + 1
    end
    rows[s][n] = id
  end
end
if gone + taken > 0 then return {'lost', gone, taken} end
local key = streams
for g = 1, tonumber(take()) do
  local last, found = take(), ''
  local info = redis.pcall('XINFO', 'STREAM', KEYS[key + 1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then found = info[i + 1] end
  end
  if found ~= last or (redis.call('GET', KEYS[key + 2]) or '') ~= take() then return {'changed'} end
  key = key + 2
end
local replies = {}
for c = 1, tonumber(take()) do
  local count = tonumber(take())
  local reply = redis.pcall(unpack(ARGV, at + 1, at + count))
  at = at + count
  if type(reply) == 'table' and reply.err then
    if c == 1 and (string.find(reply.err, '^READONLY') or string.find(reply.err, '^NOREPLICAS')) then return reply end
    return {'failed', c, reply.err}
  end
  replies[c] = reply
end
for s = 1, streams do
  for first = 1, #rows[s], 1000 do
    redis.call('XACK', KEYS[s], group, unpack(rows[s], first, math.min(first + 999, #rows[s])))
  end
end
return {'done', replies}
""")
