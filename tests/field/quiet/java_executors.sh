# idle executors of the JVM, a slow task
# needs: java javac
cat >Q.java <<'J'
import java.util.concurrent.*;
public class Q {
    public static void main(String[] a) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        for (int i = 0; i < 4; i++) pool.submit(() -> 1).get();
        pool.submit(() -> { Thread.sleep(@REST@000); return 1; }).get();
        pool.shutdown();
        ForkJoinPool.commonPool().submit(() -> 1).get();
    }
}
J
javac Q.java && java -cp . Q
