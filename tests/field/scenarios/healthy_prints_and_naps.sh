#!/bin/bash
# Healthy: prints, sleeps, prints.
for i in 1 2 3; do echo $i; sleep 9; done | while read -r n; do echo "got $n"; done
