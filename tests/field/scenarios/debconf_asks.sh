#!/bin/bash
# A package's configuration asks a question in the job's terminal (expect's), and expect waits for the end.
# healthy: the package's configuration takes a while and asks nothing.
d=$(mktemp -d); cd "$d" || exit
cat >conf <<C
Config: configdb
Templates: templatedb

Name: configdb
Driver: File
Filename: $d/config.dat

Name: templatedb
Driver: File
Filename: $d/templates.dat
C
cat >demo.templates <<'T'
Template: demo/area
Type: string
Description: Geographic area
 The area in which this machine stands.
T
cat >demo.config <<'S'
#!/bin/sh
. /usr/share/debconf/confmodule
[ "$MODE" = hang ] || sleep 40
db_x_loadtemplatefile "$FOLDER/demo.templates" demo
db_input high demo/area || true
db_go || true
S
chmod +x demo.config
[ "$1" = hang ] && front=readline || front=noninteractive
export DEBCONF_SYSTEMRC=$d/conf DEBIAN_FRONTEND=$front MODE=$1 FOLDER=$d TERM=dumb
expect -c 'set timeout -1; log_user 0; spawn debconf -odemo ./demo.config; expect eof'
