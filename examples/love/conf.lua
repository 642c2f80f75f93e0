-- luacheck: globals love

function love.conf(t)
  for _, name in ipairs { "audio", "graphics", "joystick", "sound", "video", "window" } do
    t.modules[name] = false -- a game has them; this example runs where there is no display
  end
end
