// Healthy: idle pools, a scheduled task far away, a server that waits for clients; main sleeps and ends.
import java.net.*;
import java.util.concurrent.*;

public class HealthyPools {
    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        for (int i = 0; i < 8; i++) pool.submit(() -> 1).get();
        ScheduledExecutorService later = Executors.newScheduledThreadPool(2);
        later.schedule(() -> System.out.println("late"), 1, TimeUnit.HOURS);
        ServerSocket server = new ServerSocket(0);
        Thread acceptor = new Thread(() -> { try { server.accept(); } catch (Exception e) { } });
        acceptor.setDaemon(true); acceptor.start();
        Thread.sleep(20000);
        pool.shutdown(); later.shutdownNow(); System.out.println("ok");
    }
}
