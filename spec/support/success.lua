--- The body of a success that every operation accepts, with this machine ID. The scripts of
--- scripted servers can call it as `success`.
---@param id string? "mch_1" by default
---@return string
return function(id)
  return ('{"id":"%s","data":[],"secret":"ak_1","secret_key":"ak_1","deleted":true,'
    .. '"from_machine_id":"mch_1","to_machine_id":"mch_2","m2m_tokens":[],"token":"mt_1",'
    .. '"subject":"mch_1","revoked":true,"expired":false}'):format(id or "mch_1")
end
