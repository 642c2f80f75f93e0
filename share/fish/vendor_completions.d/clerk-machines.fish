function __fish_clerk-machines_print_command
    set -l cmdline (commandline -poc)
    set -l cmd
    set -e cmdline[1]
    for arg in $cmdline
        switch $arg
            case whoami
                set cmd $cmd whoami
                break
            case list
                set cmd $cmd list
                break
            case get
                set cmd $cmd get
                break
            case create
                set cmd $cmd create
                break
            case update
                set cmd $cmd update
                break
            case delete
                set cmd $cmd delete
                break
            case secret
                set cmd $cmd secret
                break
            case rotate
                set cmd $cmd rotate
                break
            case scope
                set cmd $cmd scope
                set -e cmdline[1]
                for arg in $cmdline
                    switch $arg
                        case add
                            set cmd $cmd add
                            break
                        case remove
                            set cmd $cmd remove
                            break
                        case list
                            set cmd $cmd list
                            break
                    end
                end
                break
            case token
                set cmd $cmd token
                set -e cmdline[1]
                for arg in $cmdline
                    switch $arg
                        case create
                            set cmd $cmd create
                            break
                        case verify
                            set cmd $cmd verify
                            break
                        case list
                            set cmd $cmd list
                            break
                        case revoke
                            set cmd $cmd revoke
                            break
                    end
                end
                break
            case graph
                set cmd $cmd graph
                break
            case plan
                set cmd $cmd plan
                break
            case apply
                set cmd $cmd apply
                break
            case export
                set cmd $cmd export
                break
            case emulate
                set cmd $cmd emulate
                break
        end
    end
    echo "$cmd"
end

function __fish_clerk-machines_using_command
    test (__fish_clerk-machines_print_command) = "$argv"
    and return 0
    or return 1
end

function __fish_clerk-machines_seen_command
    string match -q "$argv*" (__fish_clerk-machines_print_command)
    and return 0
    or return 1
end

complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'whoami' -d 'Show the instance, the keys and the API, and whether it responds'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'list' -d 'List machines'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'get' -d 'Show machines, what they may call and what may call them'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'create' -d 'Create a machine'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'update' -d 'Change a machine\'s name or token lifetime'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'delete' -d 'Delete machines and every scope that names them'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'secret' -d 'Show a machine\'s secret key'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'rotate' -d 'Replace machines\' secret keys'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'scope' -d 'Show and change which machines a machine may call'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'token' -d 'Mint, verify, list and revoke the tokens of machines'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'graph' -d 'Show which machine may call which, as a tree'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'plan' -d 'Show what must change for the instance to agree with a plan file'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'apply' -d 'Change the instance until it agrees with a plan file'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'export' -d 'Print the instance as a plan file'
complete -c clerk-machines -n '__fish_clerk-machines_using_command' -xa 'emulate' -d 'Run an emulator of Clerk\'s API on machines and tokens'
complete -c clerk-machines -l version -d 'Show the version'
complete -c clerk-machines -s h -l help -d 'Show this help'
complete -c clerk-machines -l secret-key-file -r -d 'Read the secret key of the instance from this file instead of $CLERK_SECRET_KEY'
complete -c clerk-machines -l machine-secret-key-file -r -d 'Read the secret key of a machine from this file instead of $CLERK_MACHINE_SECRET_KEY'
complete -c clerk-machines -l base-url -r -d 'URL of the API (default: $CLERK_API_URL, or https://api.clerk.com/v1)'
complete -c clerk-machines -l ca-file -r -d 'More CA certificates to trust (PEM)'
complete -c clerk-machines -l verbose -d 'Report every attempt and wait on standard error'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command whoami' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command whoami' -l json -d 'Print JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l query -r -d 'Only machines with this ID, or with this in their name'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l order-by -r -d 'created_at or name; - before it reverses the order (default: -created_at, newest first)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l limit -r -d 'List at most this many machines'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l tsv -d 'Print one line each, fields separated by tabs; this is the default when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l table -d 'Print a table, also when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command list' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command get' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command get' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command create' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command create' -l scope -r -d 'A machine that it may call, by its ID or exact name (repeatable)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command create' -l default-token-ttl -r -d 'How long tokens are valid: 600, 15m, 1h30m, 30d'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command create' -l reveal -d 'Show the secret key instead of ********'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command create' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command update' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command update' -l name -r -d 'New name'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command update' -l default-token-ttl -r -d 'How long tokens are valid: 600, 15m, 1h30m, 30d'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command update' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command delete' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command delete' -s y -l yes -d 'Do not ask for confirmation'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command delete' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command secret' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command secret' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l all -d 'All machines of the instance'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l query -r -d 'All machines with this in their names'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l previous-token-ttl -r -d 'How long the old keys keep working: 0 to 8h'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l secrets-dir -r -d 'Keep each machine\'s secret key in a file in this directory, named by the machine\'s ID'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -s y -l yes -d 'Do not ask for confirmation'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l reveal -d 'Show the secret key instead of ********'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command rotate' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_using_command scope' -xa 'add' -d 'Allow a machine to call another one'
complete -c clerk-machines -n '__fish_clerk-machines_using_command scope' -xa 'remove' -d 'Stop a machine from calling another one'
complete -c clerk-machines -n '__fish_clerk-machines_using_command scope' -xa 'list' -d 'List what a machine may call, and what may call it'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope' -s h -l help -d 'Show this help'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope add' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope add' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope remove' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope remove' -l json -d 'Print the API\'s response as JSON'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope remove' -s y -l yes -d 'Do not ask for confirmation'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope list' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope list' -l tsv -d 'Print one line each, fields separated by tabs; this is the default when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope list' -l table -d 'Print a table, also when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command scope list' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_using_command token' -xa 'create' -d 'Mint a token of the machine whose secret key is given'
complete -c clerk-machines -n '__fish_clerk-machines_using_command token' -xa 'verify' -d 'Say whether a token is valid, and if it is not, why'
complete -c clerk-machines -n '__fish_clerk-machines_using_command token' -xa 'list' -d 'List the opaque tokens of a machine, newest first'
complete -c clerk-machines -n '__fish_clerk-machines_using_command token' -xa 'revoke' -d 'Revoke opaque tokens'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token' -s h -l help -d 'Show this help'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l expires-in -r -d 'How long it is valid: 90, 15m, 1h30m (default: the machine\'s token TTL)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l claims -r -d 'What it says about its machine: JSON, usually an object'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l format -r -d 'opaque (default), which the API verifies and can revoke, or jwt'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l min-remaining-ttl -r -d 'Use a token that exists, if it is valid for at least this long'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l reveal -d 'Show the token instead of ********'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token create' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command token verify' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token verify' -l machine -r -d 'The receiver, by its ID or exact name: also check whether the token\'s machine may call it'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token verify' -l publishable-key -r -d 'The instance\'s publishable key (pk_...), which says where the keys of JWTs are (default: the API, with the instance\'s secret key)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token verify' -l json -d 'Print JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l revoked -d 'List revoked tokens, too'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l expired -d 'List expired tokens, too'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l limit -r -d 'List at most this many tokens'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l tsv -d 'Print one line each, fields separated by tabs; this is the default when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l table -d 'Print a table, also when standard output is not a terminal'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token list' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command token revoke' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token revoke' -l reason -r -d 'Why they are revoked; `token list --revoked` shows it'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token revoke' -s y -l yes -d 'Do not ask for confirmation'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command token revoke' -l json -d 'Print the API\'s response as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command graph' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command graph' -l dot -d 'Print the graph for Graphviz'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command plan' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command plan' -l prune -r -d 'Delete machines that are not in the file and whose names begin with this'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command plan' -l exit-code -d 'Exit with 3 when there is something to change'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command plan' -l json -d 'Print the changes as JSON'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command apply' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command apply' -l prune -r -d 'Delete machines that are not in the file and whose names begin with this'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command apply' -l secrets-dir -r -d 'Keep each machine\'s secret key in a file in this directory, named by the machine\'s ID'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command apply' -s y -l yes -d 'Do not ask for confirmation'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command export' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command export' -l json -d 'Print JSON instead of Lua'

complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -s h -l help -d 'Show this help'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -l port -r -d 'Port to listen on (default: 0, a free port)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -l host -r -d 'Address to listen on (default: 127.0.0.1)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -l tls -d 'Serve HTTPS; print the CA certificate\'s file'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -l secret-key -r -d 'The instance\'s secret key (default: sk_test_emulator)'
complete -c clerk-machines -n '__fish_clerk-machines_seen_command emulate' -l rate-limit -r -d 'Requests per ten seconds (default: no limit)'
