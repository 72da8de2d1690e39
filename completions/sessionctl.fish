# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sessionctl_global_optspecs
    string join \n server= local= profile= token-file= token-stdin cacert= insecure o/output= q/quiet v/verbose h/help V/version
end

function __fish_sessionctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sessionctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sessionctl_using_subcommand
    set -l cmd (__fish_sessionctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sessionctl -n "__fish_sessionctl_needs_command" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_needs_command" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -s V -l version -d 'Print version'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "list" -d 'List the sessions that are not closed'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "show" -d 'Show one session, with its processes and what they hold'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "count" -d 'Count the sessions that are not closed'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "history" -d 'List the sessions that are closed, the last one first'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "locks" -d 'List the record locks: who holds what, since when, and how many wait for it'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "audit" -d 'List what operators ordered, the last one first'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "close-session" -d 'Close sessions by UUID'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "close" -d 'Close sessions by UUID'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "drop-session" -d 'End sessions at once, without what a closing would still do'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "drop" -d 'End sessions at once, without what a closing would still do'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "open-session" -d 'Open a session on a client\'s behalf'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "open" -d 'Open a session on a client\'s behalf'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "options" -d 'See and set the options'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "token" -d 'Make, list and revoke the tokens of the admin API'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "stats" -d 'Tell how many sessions there are, and what happened since the start'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "ping" -d 'Check that a server answers and acknowledges changes'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "store" -d 'Check, copy and bring back the store of a data directory'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "doctor" -d 'Check that a server and its data are well, and tell what to do where they are not'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "serve" -d 'Run the session server'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "demo" -d 'Show what sessionctl does, on a server of its own'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "generate" -d 'Write completions, man pages, a systemd unit or a proxy\'s site into a directory'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "openapi" -d 'Print the description of the API: OpenAPI 3.1, as JSON'
complete -c sessionctl -n "__fish_sessionctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l limit -d 'List at most this many, the oldest first' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand count" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l user -d 'Only sessions of this user' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l cause -d 'Only sessions that ended for this reason' -r -f -a "command\t''
logout\t''
inactive\t''
evicted\t''
dropped\t''
restored\t''"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l since -d 'Only sessions that ended within this time, such as 2h or 7d, or since this instant, such as 2026-11-22T21:00:00Z' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l limit -d 'List at most this many, the last one first [default: 50]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -f -a "show" -d 'Show what is remembered of one closed session'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and not __fish_seen_subcommand_from show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show what is remembered of one closed session'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l record -d 'Only this record. What stands before the first slash is the table; if --table names it, the whole text is the record' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l table -d 'Only records of this table; needed beside --record where the table\'s name has a slash' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l session -d 'Only records that this session locks' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand locks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l limit -d 'At most so many' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "verify" -d 'Go over the whole record: whether it is what was written'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Go over the whole record: whether it is what was written'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l reason -d 'Why, for the record: at most 256 characters' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l wait -d 'Wait this long for each session to be closed, from its begin; all cookies are refused before the first wait' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l on-close -d 'With --local: call this program for each process that closes, in place of what the last server called; or save, or none' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l must-exist -d 'Fail with exit code 3 if a session does not exist'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l no-wait -d 'Return as soon as the cookie is refused; called by an on-close method, it always does'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close-session" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l reason -d 'Why, for the record: at most 256 characters' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l wait -d 'Wait this long for each session to be closed, from its begin; all cookies are refused before the first wait' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l on-close -d 'With --local: call this program for each process that closes, in place of what the last server called; or save, or none' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l must-exist -d 'Fail with exit code 3 if a session does not exist'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l no-wait -d 'Return as soon as the cookie is refused; called by an on-close method, it always does'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l reason -d 'Why, for the record: at most 256 characters' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l must-exist -d 'Fail with exit code 3 if a session does not exist'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop-session" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l reason -d 'Why, for the record: at most 256 characters' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l must-exist -d 'Fail with exit code 3 if a session does not exist'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand drop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l user -d 'Who is signed in; without it the session is a guest\'s' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l ip -d 'The client\'s address' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l user-agent -d 'What the client says it is' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l kind -d 'What kind of client it serves: web (one process) or mobile (any number of them)' -r -f -a "web\t''
mobile\t''"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l idle-timeout -d 'Time without a request after which a mobile session ends: at least 60m, which is the default' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l cookie-jar -d 'Write the session\'s cookie into this file, in the form that curl reads' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l cookie-host -d 'The host that the cookie in the jar is for' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open-session" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l user -d 'Who is signed in; without it the session is a guest\'s' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l ip -d 'The client\'s address' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l user-agent -d 'What the client says it is' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l kind -d 'What kind of client it serves: web (one process) or mobile (any number of them)' -r -f -a "web\t''
mobile\t''"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l idle-timeout -d 'Time without a request after which a mobile session ends: at least 60m, which is the default' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l cookie-jar -d 'Write the session\'s cookie into this file, in the form that curl reads' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l cookie-host -d 'The host that the cookie in the jar is for' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -f -a "list" -d 'List every option: value, default, range, when it acts, 4D\'s name'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -f -a "get" -d 'Print the value of one option'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -f -a "set" -d 'Set an option at run time: it acts at once, is kept over restarts, and wins over the file and the flags'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -f -a "reset" -d 'Take back what was set at run time: the flag, the file or the default counts again'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and not __fish_seen_subcommand_from list get set reset help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l origin -d 'Tell where each value comes from: default, file, flag or run_time'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l origin -d 'Tell where the value comes from, and what lies beneath it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l yes -d 'Go ahead even if sessions end by it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l dry-run -d 'Only tell how many sessions would end'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l all -d 'Reset every option that was set at run time'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l yes -d 'Go ahead even if sessions end by it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l dry-run -d 'Only tell how many sessions would end'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from help" -f -a "list" -d 'List every option: value, default, range, when it acts, 4D\'s name'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from help" -f -a "get" -d 'Print the value of one option'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from help" -f -a "set" -d 'Set an option at run time: it acts at once, is kept over restarts, and wins over the file and the flags'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from help" -f -a "reset" -d 'Take back what was set at run time: the flag, the file or the default counts again'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand options; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "create" -d 'Make a token; it is shown this once'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "list" -d 'List the tokens, without their secrets'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "revoke" -d 'Revoke tokens by name: they are refused from now on, and requests that wait with them end'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l name -d 'What it is called: it stands in the log and in the audit record' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l role -d 'What it is good for: viewer looks; closer looks and ends sessions; admin may everything; app is for the application whose sessions they are' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'For how long it is good, such as 12h or 90d; never for a token without an end' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l out -d 'Write it into this new file, for its owner alone, and not to stdout' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a token; it is shown this once'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the tokens, without their secrets'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Revoke tokens by name: they are refused from now on, and requests that wait with them end'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand ping" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -f -a "check" -d 'Look the store over, from the file to every value; exit code 10 if something is wrong'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -f -a "backup" -d 'Copy the store into a new file: what is on disk at one moment, also while a server has it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -f -a "restore" -d 'Bring a backup back. What was closed since stays closed: sessions of the backup live on only where the store that is there is the one it was made of and can be read; else all of them end, cause restored, and every admin token is revoked'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and not __fish_seen_subcommand_from check backup restore help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l yes -d 'Go ahead: sessions may end by it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l dry-run -d 'Only tell what would happen'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "check" -d 'Look the store over, from the file to every value; exit code 10 if something is wrong'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Copy the store into a new file: what is on disk at one moment, also while a server has it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Bring a backup back. What was closed since stays closed: sessions of the backup live on only where the store that is there is the one it was made of and can be read; else all of them end, cause restored, and every admin token is revoked'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l config -d 'Look at this configuration file of serve too [default: /etc/sessionctl/server.toml, if no target is named and it is there]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l config -d 'Read this file for what no flag says [default: /etc/sessionctl/server.toml, if it is there]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l data -d 'Keep the data in this directory [default: /var/lib/sessionctl as root, else below XDG_STATE_HOME]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l web -d 'Serve web clients on this address; port 0 takes a free one [default: 127.0.0.1:8080]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l admin -d 'Serve operators here: unix:PATH or ADDRESS:PORT, beyond loopback only with --tls-cert [default: admin.sock in /run/sessionctl as root, below XDG_RUNTIME_DIR, or in the data directory]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l admin-token-file -d 'The admin token\'s file; made, for its owner alone, if it is not there. Needed for an admin address with a port' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l tls-cert -d 'Serve operators on the port of --admin over TLS, with the certificates in this file, the server\'s own first (PEM); SIGHUP reloads it' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l tls-key -d 'The key of the certificate (PEM), closed to others' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l trusted-proxies -d 'Believe the X-Forwarded-For of proxies with these addresses, or in these networks, comma separated' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l app-token-file -d 'The application\'s token\'s file; made, for its owner alone, if it is not there. With this token an application opens and signs in sessions, and works with their processes' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l on-close -d 'Call this program for each process that closes, with its context as JSON on stdin; save keeps the context without a program, none calls nothing [default: none]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l on-close-argument -d 'An argument for the program of --on-close; once for each' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l mode -d 'How sessions are managed: legacy (one process each), scalable (close-session ignores them), none (no new sessions): legacy, scalable, none [default: legacy]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l keep-session -d 'Another name for mode: off is mode none: on, off [default: on]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l max-sessions -d 'Legacy sessions with a process that may be live at once: 1 to 1000000 sessions; 0 for the default [default: 100]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l inactive-process-timeout -d 'Time without a request after which a session is suspended, if inactive_session_timeout is longer: 1s to 400d; 0 for the default [default: 8h]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l inactive-session-timeout -d 'Time without a request after which a legacy session ends; a scalable one ends after 60m: 1s to 400d; 0 for the default [default: 8h]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l absolute-session-timeout -d 'Time from opening or login after which a session ends, however busy it is: 1s to 400d [default: 30d]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cookie-name -d 'The cookie\'s name; __Host- or __Secure- is put before it unless cookie_secure is off: letters, digits, - _ . and the like; empty for the default [default: 4DSID]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cookie-domain -d 'The domain whose hosts all get the cookie; empty for this host alone: a domain name, or empty [default: empty]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cookie-path -d 'The path below which the cookie is sent: a path that begins with / [default: /]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cookie-same-site -d 'Whether the cookie goes along with requests from other sites: lax, strict, none [default: lax]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cookie-secure -d 'Whether the cookie is for https only; off for a site without TLS in front: on, off [default: on]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l session-ip-address-validation -d 'Whether a live cookie is refused from another address than the session\'s: on, off [default: on]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l address-prefix-v6 -d 'Bits of an IPv6 address that make one client: 1 to 128 bits [default: 64]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l eviction-min-idle -d 'Time without a request before a session may make room on a full server: 0s to 400d [default: 1m]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l eviction-order -d 'Who makes room: safe (cookies that never came back, guests, users; no guest displaces a user) or oldest (as in 4D): safe, oldest [default: safe]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l open-rate -d 'Sessions that one client address may open in a minute: 1 to 1000000 a minute, or off [default: 60]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l context-limit -d 'Bytes that the variables, selections and locks of one process may have: 0 to 1048576 bytes [default: 65536]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l context-name-limit -d 'Characters that the name of a variable, selection, table or record may have: 1 to 1024 characters [default: 128]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l closing-grace-period -d 'Time that the processes of a mobile session have to finish once they are asked to: 0s to 10m [default: 30s]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l closing-time-limit -d 'Time after which a closing ends, whatever its on-close method does: 1s to 1h [default: 1m]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l on-close-time-limit -d 'Time that a run of the on-close method may take: 100ms to 10m [default: 5s]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l on-close-slots -d 'Runs of the on-close method at once: 1 to 64 runs [default: 8]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l history-retention -d 'How long closed sessions are remembered: 1h to 400d [default: 30d]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l end-all-sessions -d 'End every session before the start, cause restored, and revoke every admin token of `token create`: for the day after a plain copy of the data or a snapshot of the machine was put back, which may bring back what had been closed or revoked'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l check-config -d 'Only check the configuration, and say what the server would start with'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l keep -d 'Leave the server up and say how to talk to it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l server -d 'Ask the server at this admin address: unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT [env: SESSIONCTL_SERVER]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l local -d 'Act on this data directory, without a server [env: SESSIONCTL_LOCAL]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l profile -d 'Ask the server of this name in sessionctl/config.toml below XDG_CONFIG_HOME or ~/.config [env: SESSIONCTL_PROFILE]' -r
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l token-file -d 'Present the token in this file, and be no more than it allows, on a socket too [env: SESSIONCTL_TOKEN_FILE, for http and https alone]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l cacert -d 'Trust only the authorities whose certificates are in this file, and none of the system\'s (PEM) [env: SESSIONCTL_CACERT]' -r -F
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -s o -l output -d 'How to write results' -r -f -a "table\t'For people'
json\t'One JSON object'
jsonl\t'One JSON object per line'
csv\t'Comma-separated values with a header (RFC 4180)'
uuid\t'Session UUIDs alone, one per line'"
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l token-stdin -d 'Present the token in the first line of stdin'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -l insecure -d 'Trust whoever answers at an https address; what is sent, the token too, may be read and changed on the way'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -s q -l quiet -d 'Write less: list only UUIDs, close without a word'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -s v -l verbose -d 'Tell more on stderr'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand openapi" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "list" -d 'List the sessions that are not closed'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "show" -d 'Show one session, with its processes and what they hold'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "count" -d 'Count the sessions that are not closed'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "history" -d 'List the sessions that are closed, the last one first'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "locks" -d 'List the record locks: who holds what, since when, and how many wait for it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "audit" -d 'List what operators ordered, the last one first'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "close-session" -d 'Close sessions by UUID'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "drop-session" -d 'End sessions at once, without what a closing would still do'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "open-session" -d 'Open a session on a client\'s behalf'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "options" -d 'See and set the options'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "token" -d 'Make, list and revoke the tokens of the admin API'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "stats" -d 'Tell how many sessions there are, and what happened since the start'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "ping" -d 'Check that a server answers and acknowledges changes'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "store" -d 'Check, copy and bring back the store of a data directory'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "doctor" -d 'Check that a server and its data are well, and tell what to do where they are not'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "serve" -d 'Run the session server'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "demo" -d 'Show what sessionctl does, on a server of its own'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "generate" -d 'Write completions, man pages, a systemd unit or a proxy\'s site into a directory'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "openapi" -d 'Print the description of the API: OpenAPI 3.1, as JSON'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and not __fish_seen_subcommand_from list show count history locks audit close-session drop-session open-session options token stats ping store doctor serve demo generate openapi help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from history" -f -a "show" -d 'Show what is remembered of one closed session'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "verify" -d 'Go over the whole record: whether it is what was written'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from options" -f -a "list" -d 'List every option: value, default, range, when it acts, 4D\'s name'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from options" -f -a "get" -d 'Print the value of one option'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from options" -f -a "set" -d 'Set an option at run time: it acts at once, is kept over restarts, and wins over the file and the flags'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from options" -f -a "reset" -d 'Take back what was set at run time: the flag, the file or the default counts again'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "create" -d 'Make a token; it is shown this once'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'List the tokens, without their secrets'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Revoke tokens by name: they are refused from now on, and requests that wait with them end'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "check" -d 'Look the store over, from the file to every value; exit code 10 if something is wrong'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "backup" -d 'Copy the store into a new file: what is on disk at one moment, also while a server has it'
complete -c sessionctl -n "__fish_sessionctl_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "restore" -d 'Bring a backup back. What was closed since stays closed: sessions of the backup live on only where the store that is there is the one it was made of and can be read; else all of them end, cause restored, and every admin token is revoked'
