#!/usr/bin/python3
"""The S3 client beside others, as whole processes: the same objects to and from a real Ceph RGW, and from nginx, which is the
limit of what this machine serves. Ours leaves the objects in memory, where a trainer wants them; the others write them to files in
memory. Every row's clients take turns, ROUNDS times; medians of MB/s and of the client's own CPU
seconds (user and system), and of the ratios within a round. Another server's or neighbour's load moves all of them alike."""
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
B = ROOT / os.environ.get("B", "build")
OUT = B / "bench" / "store"
SHM = pathlib.Path("/dev/shm") / f"sovrun-bench-{os.getpid()}"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
BIG, SMALL = (64, 8 << 20, 8), (1000, 256 << 10, 16)  # objects, bytes, connections
BUCKET = "bench"


def timed(command, env, cwd=None):
    """Wall and CPU seconds of one process; its output is kept for the case that it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run([str(c) for c in command], env=env, cwd=cwd, capture_output=True, text=True, check=False)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(str(c) for c in command)[:200]}: exit {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class Bench:
    def __init__(self):
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        SHM.mkdir()
        subprocess.run([ROOT / "tests" / "rgw.sh", "start", OUT / "rgw"], check=True)
        self.rgw = dict(line.split("=", 1) for line in (OUT / "rgw" / "env").read_text().splitlines())
        self.endpoint, self.region = self.rgw["SOVRUN_TEST_S3_ENDPOINT"], self.rgw["SOVRUN_TEST_S3_REGION"]
        self.env = {"PATH": os.environ["PATH"], "HOME": str(OUT), "AWS_ACCESS_KEY_ID": self.rgw["SOVRUN_TEST_S3_ACCESS_KEY"],
                    "AWS_SECRET_ACCESS_KEY": self.rgw["SOVRUN_TEST_S3_SECRET_KEY"], "AWS_DEFAULT_REGION": self.region,
                    "AWS_EC2_METADATA_DISABLED": "true"}
        self.start_nginx()
        self.rclone()
        self.aws("create-bucket", "--bucket", BUCKET, "--create-bucket-configuration", f"LocationConstraint={self.region}")

    def close(self):
        self.nginx.terminate()
        self.nginx.wait()
        subprocess.run([ROOT / "tests" / "rgw.sh", "stop", OUT / "rgw"], check=False)
        shutil.rmtree(SHM, ignore_errors=True)

    def aws(self, *arguments):
        subprocess.run(["/usr/bin/aws", "--endpoint-url", self.endpoint, "s3api", *arguments], env=self.env, check=True,
                       capture_output=True)

    def start_nginx(self):
        """Static files out of memory, over loopback."""
        folder = OUT / "nginx"
        folder.mkdir()
        (folder / "conf").write_text(f"""
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; keepalive_requests 100000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:0; root {SHM}; }} }}
""".replace("127.0.0.1:0", f"127.0.0.1:{self.free_port()}"))
        self.nginx = subprocess.Popen(["nginx", "-c", folder / "conf"], stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def free_port(self):
        import socket
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.nginx_at = f"http://127.0.0.1:{s.getsockname()[1]}"
            return s.getsockname()[1]

    def rclone(self):
        secret = subprocess.run(["rclone", "obscure", "bench-password"], capture_output=True, text=True, check=True).stdout.strip()
        (OUT / "rclone.conf").write_text(f"""[s3]
type = s3
provider = Ceph
env_auth = true
endpoint = {self.endpoint}
region = {self.region}
disable_checksum = true
[crypt]
type = crypt
remote = s3:{BUCKET}/crypt
password = {secret}
filename_encryption = off
directory_name_encryption = false
""")

    def ours(self, act, endpoint, prefix, shape):
        count, size, connections = shape
        return timed([B / "bench" / "bench_store", act, endpoint, self.region, BUCKET, prefix, count, size, connections], self.env)

    def curl(self, endpoint, prefix, shape, signed):
        count, _, connections = shape
        config, down = OUT / "curl.conf", SHM / "curl"
        down.mkdir(exist_ok=True)
        config.write_text("".join(f'url = "{endpoint}/{BUCKET}/{prefix}/{i}"\noutput = "{down}/{i}"\n' for i in range(count)))
        keys = (["--aws-sigv4", f"aws:amz:{self.region}:s3", "--user", f"{self.env['AWS_ACCESS_KEY_ID']}:{self.env['AWS_SECRET_ACCESS_KEY']}",
                 "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"] if signed else [])
        return timed(["curl", "-sS", "--fail", "--parallel", "--parallel-max", connections, *keys, "--config", config], self.env)

    def rclone_copy(self, source, target, shape):
        env = {**self.env, "RCLONE_CONFIG": str(OUT / "rclone.conf")}
        return timed(["rclone", "copy", "--transfers", shape[2], "--ignore-times", "--no-check-dest", "--s3-no-check-bucket",
                      "--s3-upload-cutoff", "1G", source, target], env)


def median_row(name, target, shape, clients):
    """clients: {name: function}; the first is ours."""
    megabytes = shape[0] * shape[1] / 1e6
    walls, cpus = {c: [] for c in clients}, {c: [] for c in clients}
    for _ in range(ROUNDS):
        for client, run in clients.items():
            wall, cpu = run()
            walls[client].append(wall)
            cpus[client].append(cpu)
    mine = next(iter(clients))
    print(f"\n{name} ({shape[0]} x {shape[1] >> 10} KiB, {shape[2]} at once; {target})")
    for client in clients:
        speed = megabytes / statistics.median(walls[client])
        cpu = statistics.median(cpus[client])
        if client == mine:
            print(f"  {client:16} {speed:8.0f} MB/s  {cpu:6.2f} s of CPU")
        else:
            faster = statistics.median(w / m for w, m in zip(walls[client], walls[mine]))
            less = statistics.median(c / m for c, m in zip(cpus[client], cpus[mine]))
            print(f"  {client:16} {speed:8.0f} MB/s  {cpu:6.2f} s of CPU   ours: {faster:5.2f} x its speed, {less:5.1f} x less CPU")
    sys.stdout.flush()


def main():
    bench = Bench()
    try:
        for prefix, shape in (("big", BIG), ("small", SMALL)):
            bench.ours("put", bench.endpoint, prefix, shape)
            folder = SHM / BUCKET / prefix
            folder.mkdir(parents=True)
            for i in range(shape[0]):
                (folder / str(i)).write_bytes(os.urandom(shape[1]))
        for prefix, shape in (("big", BIG), ("small", SMALL)):
            median_row(f"GET {prefix}", "RGW", shape, {
                "sovrun": lambda p=prefix, s=shape: bench.ours("get", bench.endpoint, p, s),
                "curl --parallel": lambda p=prefix, s=shape: bench.curl(bench.endpoint, p, s, True),
                "rclone": lambda p=prefix, s=shape: bench.rclone_copy(f"s3:{BUCKET}/{p}", SHM / "down", s),
            })
        for prefix, shape in (("big", BIG), ("small", SMALL)):
            median_row(f"GET {prefix}", "nginx, the limit", shape, {
                "sovrun": lambda p=prefix, s=shape: bench.ours("get", bench.nginx_at, p, s),
                "curl --parallel": lambda p=prefix, s=shape: bench.curl(bench.nginx_at, p, s, False),
            })
        median_row("PUT big", "RGW", BIG, {
            "sovrun": lambda: bench.ours("put", bench.endpoint, "up", BIG),
            "rclone": lambda: bench.rclone_copy(SHM / BUCKET / "big", f"s3:{BUCKET}/rclone-up", BIG),
        })
        median_row("sealed PUT big", "RGW", BIG, {
            "sovrun": lambda: bench.ours("seal", bench.endpoint, "sealed", BIG),
            "rclone crypt": lambda: bench.rclone_copy(SHM / BUCKET / "big", "crypt:up", BIG),
        })
    finally:
        bench.close()


if __name__ == "__main__":
    main()
