-- Turns off what needs a display, so that the example runs anywhere. See main.lua.

-- luacheck: globals love

function love.conf(t)
  for _, name in ipairs { "audio", "graphics", "joystick", "sound", "video", "window" } do
    t.modules[name] = false
  end
end
