# two processes each wait for the other's message over a pipe of multiprocessing. healthy: one of them is at
# work and sends later
import multiprocessing, sys, time
def work(end, hang):
    if not hang:
        time.sleep(40)
        end.send("ready")
    end.recv()
if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(theirs, sys.argv[1] == "hang"))
    process.start()
    print(ours.recv())
    ours.send("go")
    process.join()
