-- Adds one chunk of a batch to the ledger states: core/ledger/seen_numbers.py's `Seen.add`, on the form of core/ledger/seen_numbers.py.
--
-- KEYS[1]   hash of the shim: its batch, and the reply to each chunk of it
-- ARGV      1 prefix of the other keys   2 batch id   3 chunk, 0..   4 checksum of the chunk   5 reorder window, ms
--           6 TTL, ms   7 refresh interval, ms   8 most gaps   9 most boots in a device's index   10 the chunk
-- Returns   index (4 bytes), start (4), end (4) of each run that had been seen already.
--
-- Redis keeps what a failing script has written so far. So everything is read and computed first; the first write is
-- the one that Redis may refuse (memory, disk, replicas), and after it the others are not refused any more.

local shim_key = KEYS[1]
local prefix, batch_id, chunk, checksum = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local window, ttl, refresh = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local max_gap_bytes, max_boots, batch = tonumber(ARGV[8]) * 16, tonumber(ARGV[9]), ARGV[10]
local HEAD, HEAD_BYTES, GAP, MAX_COUNT = '>BI4I4I8I8I8I8I8I8I2', 59, '>I4I4I8', 9007199254740991
local pack, unpack, sub, call = struct.pack, struct.unpack, string.sub, redis.call
local max, min = math.max, math.min

-- Was it done already? ---------------------------------------------------------------------------------------------

local known = call('HGET', shim_key, 'batch')
if known and tonumber(batch_id) < tonumber(known) then
  return redis.error_reply('STALE batch ' .. batch_id .. ' came after batch ' .. known)
end
if known == batch_id then
  local reply = call('HGET', shim_key, chunk)
  if reply then
    if sub(reply, 1, #checksum) ~= checksum then
      return redis.error_reply('OTHER batch ' .. batch_id .. ' came before with other content')
    end
    return sub(reply, #checksum + 1)
  end
end
if chunk > 0 and (known ~= batch_id or call('HEXISTS', shim_key, chunk - 1) == 0) then
  return redis.error_reply('EARLIER chunk of batch ' .. batch_id .. ' is missing; all of it has to come again')
end

-- The states ------------------------------------------------------------------------------------------------------

local replies, index = {}, 0

local function report(state, start, stop)
  state.duplicates = min(state.duplicates + stop - start + 1, MAX_COUNT)
  replies[#replies + 1] = pack('>I4I4I4', index, start, stop)
end

local function gap_at(state, number)
  return unpack(GAP, state.gaps, number * 16 + 1)
end

local function first_gap_reaching(state, seq)
  local low, high = 0, #state.gaps / 16
  while low < high do
    local middle = math.floor((low + high) / 2)
    local _, stop = gap_at(state, middle)
    if stop < seq then low = middle + 1 else high = middle end
  end
  return low
end

local function keep_bound(state)
  while #state.gaps > max_gap_bytes do
    local start, stop = gap_at(state, 0)
    state.forgotten = state.forgotten + stop - start + 1
    state.gaps = sub(state.gaps, 17)
  end
end

local function miss_below(state, start, at)
  local stop = state.lowest - 1
  if #state.gaps > 0 then
    local first, last, opened = gap_at(state, 0)
    if first == state.lowest and opened == at then
      stop = last
      state.gaps = sub(state.gaps, 17)
    end
  end
  state.gaps = pack(GAP, start, stop, at) .. state.gaps
end

local function expect(state, first, at)
  if first < state.lowest then
    miss_below(state, first, at)
    state.lowest = first
    keep_bound(state)
  end
end

local function fill(state, start, stop, at)
  local begin = first_gap_reaching(state, start)
  local number, gap_count, rest, next_seq = begin, #state.gaps / 16, '', start
  while number < gap_count do
    local gap_start, gap_stop, opened = gap_at(state, number)
    if gap_start > stop then break end
    local first, last = max(gap_start, start), min(gap_stop, stop)
    if next_seq < first then report(state, next_seq, first - 1) end
    if gap_start < first then rest = rest .. pack(GAP, gap_start, first - 1, opened) end
    if last < gap_stop then rest = rest .. pack(GAP, last + 1, gap_stop, opened) end
    state.late = state.late + last - first + 1
    if math.abs(at - opened) > window then state.recovered = state.recovered + last - first + 1 end
    next_seq = last + 1
    number = number + 1
  end
  if next_seq <= stop then report(state, next_seq, stop) end
  state.gaps = sub(state.gaps, 1, begin * 16) .. rest .. sub(state.gaps, number * 16 + 1)
end

local function add(state, start, stop, at)
  local lowest, highest = state.lowest, state.highest
  state.last = at
  if start > highest then
    if start > highest + 1 then state.gaps = state.gaps .. pack(GAP, highest + 1, start - 1, at) end
    state.highest = stop
  else
    if stop >= lowest then fill(state, max(start, lowest), min(stop, highest), at) end
    if start < lowest then
      if stop < lowest - 1 then miss_below(state, stop + 1, at) end
      state.late = state.late + min(stop, lowest - 1) - start + 1
      state.lowest = start
    end
    if stop > highest then state.highest = stop end
  end
  keep_bound(state)
end

local function begin(s, start, stop, at)
  s.lowest, s.highest, s.first, s.last = start, stop, at, at
  s.duplicates, s.late, s.recovered, s.forgotten, s.gaps = 0, 0, 0, 0, ''
end

local function decode(s)
  local _, data = nil, s.data
  _, s.lowest, s.highest, s.first, s.last, s.duplicates, s.late, s.recovered, s.forgotten = unpack(HEAD, data)
  s.gaps = sub(data, HEAD_BYTES + 1)
  s.data = nil
end

local function encode(s)
  return pack(
    HEAD, 1, s.lowest, s.highest, s.first, s.last, s.duplicates, s.late, s.recovered, s.forgotten, #s.gaps / 16
  ) .. s.gaps
end

-- A state is its bytes (`data`) until a run needs more than its highest number.
local function add_run(s, start, stop, at)
  local data = s.data
  if data then
    if start == unpack('>I4', data, 6) + 1 then
      s.data = sub(data, 1, 5) .. pack('>I4', stop) .. sub(data, 10, 17) .. pack('>I8', at) .. sub(data, 26)
      return
    end
    decode(s)
  end
  add(s, start, stop, at)
end

-- Read and compute ------------------------------------------------------------------------------------------------

local states, position = {}, 1
while position <= #batch do
  local nonce, device, hop, at, expected, first_seq, run_count
  nonce, device, hop, at, expected, first_seq, run_count, position = unpack('>c5I2c0Bc0I8BI4I4', batch, position)
  local id = nonce .. hop .. '\0' .. device
  local s = states[id]
  if not s and run_count > 0 then
    s = { nonce = nonce, device = device, field = hop .. '\0' .. device }
    s.data = call('HGET', prefix .. 'boot:' .. nonce, s.field) or nil
    if s.data then
      if #s.data < HEAD_BYTES or (#s.data - HEAD_BYTES) % 16 ~= 0 or string.byte(s.data) ~= 1 then
        return redis.error_reply('DAMAGED state at hop ' .. hop .. ' of device ' .. device)
      end
      s.hour = math.floor(unpack('>I8', s.data, 18) / refresh)
    end
    states[id] = s
  end
  for run = 1, run_count do
    local start, stop
    start, stop, position = unpack('>I4I4', batch, position)
    if not s.data and not s.lowest then
      begin(s, start, stop, at)
      if expected == 1 then expect(s, first_seq, at) end
    else
      if expected == 1 and run == 1 then
        if s.data then decode(s) end
        expect(s, first_seq, at)
      end
      add_run(s, start, stop, at)
    end
    s.last_seen = at
  end
  index = index + 1
end

-- Write -----------------------------------------------------------------------------------------------------------

local reply = table.concat(replies)
if known ~= batch_id then
  call('HSET', shim_key, 'batch', batch_id) -- before DEL, which Redis would not refuse when it is out of memory
  call('DEL', shim_key)
end
call('HSET', shim_key, 'batch', batch_id, chunk, checksum .. reply)
call('PEXPIRE', shim_key, ttl)
for _, s in pairs(states) do
  local key = prefix .. 'boot:' .. s.nonce
  call('HSET', key, s.field, s.data or encode(s))
  if math.floor(s.last_seen / refresh) ~= s.hour then
    call('PEXPIRE', key, ttl)
    call('ZADD', prefix .. 'boots', s.last_seen, s.nonce)
    call('PEXPIRE', prefix .. 'boots', ttl)
    if s.device ~= '' then
      local boots_key = prefix .. 'device:' .. s.device
      call('ZADD', boots_key, s.last_seen, s.nonce)
      call('ZREMRANGEBYRANK', boots_key, 0, -max_boots - 1)
      call('PEXPIRE', boots_key, ttl)
    end
  end
end
return reply
