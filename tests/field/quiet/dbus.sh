# a session bus beside a slow step
# needs: dbus-run-session
dbus-run-session -- sleep @REST@
