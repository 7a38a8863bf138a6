# R: forked workers, one slow
# needs: Rscript
Rscript -e 'invisible(parallel::mclapply(c(@REST@, 0.1), Sys.sleep, mc.cores = 2))'
