# processes of Erlang wait for messages
# needs: erl
erl -noshell -eval 'P = spawn(fun() -> receive stop -> ok end end), timer:sleep(@REST@000), P ! stop, halt(0).'
