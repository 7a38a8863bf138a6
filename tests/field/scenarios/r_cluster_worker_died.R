# makeCluster() waits for the call of a worker that ended with status 1 at its start. healthy: the worker's program starts late.
library(parallel)
hang <- commandArgs(TRUE)[1] == "hang"
slow <- file.path(Sys.getenv("FIELD_WORK"), "Rscript")
writeLines(c("#!/bin/sh", if (hang) "exit 1" else "sleep 40; exec Rscript \"$@\""), slow)
Sys.chmod(slow, "755")
cluster <- makeCluster(1, rscript = slow, port = as.integer(Sys.getenv("FIELD_PORT")), setup_strategy = "sequential")
stopCluster(cluster)
