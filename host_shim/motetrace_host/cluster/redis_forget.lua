-- Deletes boots of which no hop saw anything since a time, those first that were seen longest ago.
--
-- ARGV      1 prefix of the keys   2 time, ms   3 how many boots to look at
-- Returns   how many were deleted, how many were looked at

local prefix, before = ARGV[1], tonumber(ARGV[2])
local boots_key = prefix .. 'boots'
local boots = redis.call('ZRANGEBYSCORE', boots_key, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
local deleted = 0
for _, nonce in ipairs(boots) do
  local key = prefix .. 'boot:' .. nonce
  local fields = redis.call('HGETALL', key)
  local last, devices = -1, {}
  for number = 1, #fields, 2 do
    last = math.max(last, (struct.unpack('>I8', fields[number + 1], 18)))
    devices[string.match(fields[number], '%z(.*)$')] = true
  end
  if last >= before then -- the index lags behind the states
    redis.call('ZADD', boots_key, last, nonce)
  else
    redis.call('ZREM', boots_key, nonce)
    redis.call('DEL', key)
    for device in pairs(devices) do
      redis.call('ZREM', prefix .. 'device:' .. device, nonce)
    end
    if #fields > 0 then deleted = deleted + 1 end -- else its TTL was over before
  end
end
return {deleted, #boots}
