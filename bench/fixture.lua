--- Makes what nginx serves, with its configuration and certificates, in a directory, and prints the
--- ports for http, for TLS, and for TLS without HTTP/2: lua5.4 bench/fixture.lua DIRECTORY

local certificates = require "clerk.machines.emulator.certificates"
local machines = require "machines"
local socket = require "socket"

local directory = arg[1]

local function write(name, text)
  local file = assert(io.open(directory .. "/" .. name, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Free ports: nginx cannot tell which one it was given.
local function free_ports(count)
  local sockets, ports = {}, {}
  for i = 1, count do
    sockets[i] = assert(socket.bind("127.0.0.1", 0))
    ports[i] = select(2, sockets[i]:getsockname())
  end
  for i = 1, count do
    sockets[i]:close()
  end
  return ports
end

--- Pages as pagination asks for them when each brings `step` new machines.
local function write_pages(count, step)
  for offset = 0, count - 1, step do
    local last = math.min(count, offset + step + 1)
    write(("slow-%d-%d"):format(offset, step + 1), machines.page(offset + 1, last, count, 3))
  end
end

--- Three instances: machines of `narrow` have few scopes, those of `wide` all that they may, and
--- those of `slow` come after 20 ms.
local function write_bodies()
  write("narrow-machine", machines.json(1, 3))
  write("slow-machine", machines.json(1, 3))
  write("narrow-10", machines.page(1, 10, 10, 3))
  write("narrow-500", machines.page(1, 500, 500, 3))
  write("wide-500", machines.page(1, 500, 500, 150))
  write_pages(5000, 100)
end

--- The trust of a user who meets our server: Debian's bundle and the private CA.
local function write_certificates()
  local made = certificates.new()
  write("ca.pem", made.ca)
  write("server.pem", made.certificate)
  write("server.key", made.key)
  write("bundle.pem", read("/etc/ssl/certs/ca-certificates.crt") .. made.ca)
end

--- nginx delays by itself only what it refuses: `slow` refuses, and then answers all the same.
local configuration = [[
daemon off;
master_process off;
pid @DIR@/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path @DIR@/client_body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=100 inactive=1h;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  default_type application/json;
  server {
    listen 127.0.0.1:@HTTP@;
    listen 127.0.0.1:@TLS@ ssl http2;
    listen 127.0.0.1:@TLS1@ ssl;
    ssl_certificate @DIR@/server.pem;
    ssl_certificate_key @DIR@/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    root @DIR@;
    if ($http_authorization != "Bearer sk_test_bench") { return 401; }
    location = /narrow/v1/machines { try_files /narrow-$arg_limit =404; }
    location = /wide/v1/machines { try_files /wide-$arg_limit =404; }
    location /narrow/v1/machines/ { try_files /narrow-machine =404; }
    location /slow/ {
      auth_basic slow;
      auth_basic_user_file /dev/null;
      auth_delay 20ms;
      error_page 401 = @slow_machine;
      location = /slow/v1/machines { error_page 401 = @slow_page; }
    }
    location @slow_machine { try_files /slow-machine =404; }
    location @slow_page { try_files /slow-$arg_offset-$arg_limit =404; }
    location / { return 404; }
  }
}
]]

local function write_configuration(http, tls, tls1)
  local values = { DIR = directory, HTTP = http, TLS = tls, TLS1 = tls1 }
  write("nginx.conf", (configuration:gsub("@(%u+%d?)@", values)))
end

local ports = free_ports(3)
write_bodies()
write_certificates()
write_configuration(ports[1], ports[2], ports[3])
print(ports[1], ports[2], ports[3])
