# dbus-monitor waits for what comes
# needs: dbus-run-session dbus-monitor dbus-send
dbus-run-session -- bash -c 'dbus-monitor >log & m=$!; sleep @REST@; dbus-send --type=signal / a.b.c; sleep 0.5; kill $m; wait $m; true'
