--- The error that f(...) raises; it must raise one.
return function(f, ...)
  local ok, problem = pcall(f, ...)
  assert(not ok, "no error was raised")
  return problem
end
