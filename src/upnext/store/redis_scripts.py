"""What Redis does in one step on the server, in Lua; knows nothing of connections.

Stored bytes are a header of 8 bytes, from which ms on the value is absent or 0, and the value. `ARGV[1]` is now, in
ms: the caller's clock decides, as in every store. All keys of a call are of one slot. Headers are compared as numbers,
because Lua compares strings by the server's locale.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """A program and the name under which the server keeps it once it has seen it."""

    text: bytes
    name: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode())


# Arguments: now; per key what is expected and what to put, each a header that stays with a value, or empty for absent.
SWAP = Script(b"""
local now = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local raw = redis.call('GET', key) or ''
  if raw ~= ARGV[2 * i] then
    if #raw < 8 then return 0 end
    local until_ms = struct.unpack('>I8', raw)
    if until_ms == 0 then return 0 end
    local live = ''
    if until_ms > now then live = string.rep('\\0', 8) .. raw:sub(9) end
    if live ~= ARGV[2 * i] then return 0 end
  end
end
for i, key in ipairs(KEYS) do
  local raw = ARGV[2 * i + 1]
  if raw == '' then redis.call('UNLINK', key) else redis.call('SET', key, raw) end
end
return 1
""")

# Arguments: ms after which the server may drop them; per key what to put.
PUT_FOR_A_WHILE = Script(b"""
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1]) end
return 1
""")

# Arguments: now. Returns how many were there.
DELETE = Script(b"""
local now, there = tonumber(ARGV[1]), 0
for _, key in ipairs(KEYS) do
  local header = redis.call('GETRANGE', key, 0, 7)
  if #header == 8 then
    local until_ms = struct.unpack('>I8', header)
    if until_ms == 0 or until_ms > now then there = there + 1 end
  end
  redis.call('UNLINK', key)
end
return there
""")
