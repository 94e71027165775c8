"""Hostile surroundings for the system tests: authorities and certificates, an nginx with TLS and mTLS in front of the S3 service,
and a network namespace where "foreign" addresses live, with a packet capture and a name service that can be bent.

Everything lies below one folder under build/ and ends with the test: processes get SIGKILL when we die, a namespace goes with
the last process in it.
"""
import ctypes
import datetime
import ipaddress
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "s3.eu-test-1.test"  # the allowed name
FOREIGN = "198.51.100.7"  # RFC 5737: nobody's
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
TCPDUMP = shutil.which("tcpdump", path=os.environ["PATH"] + ":/usr/sbin")


def die_with_us():
    """In a child: SIGKILL when the test ends, however it does."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def free_port(first=32000):
    """Below those that the kernel gives to outgoing connections."""
    for port in range(first + os.getpid() % 150, first + 300):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port")


def wait_until(what, until, seconds=10):
    limit = time.monotonic() + seconds
    while not until():
        if time.monotonic() > limit:
            raise RuntimeError(f"{what}: waited {seconds} s")
        time.sleep(0.02)


class Authority:
    """Signs certificates, good ones and bad ones, into `folder`: NAME.pem and NAME.key (0600)."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        self.certificate = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name).public_key(self.key.public_key())
                            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=30))
                            .not_valid_after(now + datetime.timedelta(days=30))
                            .add_extension(x509.BasicConstraints(True, 0), True).sign(self.key, hashes.SHA256()))
        self.file = self.folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, file, names=(), client=False, days=(-1, 10)):
        """(certificate, key): paths. `names`: host names and addresses; `days`: its validity, from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)]))
                   .issuer_name(self.name).public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
                   .add_extension(x509.ExtendedKeyUsage([usage]), False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative(n) for n in names]), False)
        made = builder.sign(self.key, hashes.SHA256())
        certificate, private = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.touch(0o600)
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()))
        return certificate, private


def alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Front:
    """An nginx in front of an S3 service. Each of its servers has a port; add() them, then start()."""

    def __init__(self, folder, enter=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.enter = list(enter)  # what to run it by: a namespace
        self.servers = []
        self.process = None

    def add(self, listen, upstream, more=""):
        """`listen`: of nginx's directive, with "ssl" where `more` names a certificate. A file "redirect" in the folder makes
        every server answer with a redirect to the foreign address. upstream None: always."""
        redirect = f"return 307 https://{FOREIGN}$request_uri;"
        proxy = "" if upstream is None else (
            f"if (-f {self.folder}/redirect) {{ {redirect} }}\n"
            f"proxy_pass {upstream}; proxy_set_header Host $http_host; proxy_request_buffering off; proxy_buffering off; "
            "proxy_http_version 1.1; proxy_set_header Connection \"\";")
        self.servers.append(f"server {{ listen {listen}; {more}\n client_max_body_size 0;\n"
                            f" location / {{ {proxy or redirect} }} }}")

    def start(self):
        (self.folder / "nginx.conf").write_text(
            f"{'user root; ' if os.geteuid() == 0 else ''}daemon off; worker_processes 1; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log {self.folder}/access.log; client_body_temp_path {self.folder}/body; "
            f"proxy_temp_path {self.folder}/proxy; fastcgi_temp_path {self.folder}/fastcgi; uwsgi_temp_path {self.folder}/uwsgi; "
            f"scgi_temp_path {self.folder}/scgi; keepalive_timeout 60;\n" + "\n".join(self.servers) + "\n}\n")
        (self.folder / "nginx.pid").unlink(missing_ok=True)
        with open(self.folder / "out.log", "wb") as out:
            self.process = subprocess.Popen([*self.enter, NGINX, "-e", str(self.folder / "error.log"), "-c",
                                             str(self.folder / "nginx.conf"), "-p", str(self.folder)],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_us)
        wait_until("nginx", self.ready)

    def ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"nginx: {(self.folder / 'out.log').read_text()}{(self.folder / 'error.log').read_text()}")
        pid = self.folder / "nginx.pid"
        return pid.exists() and pid.read_text().strip() != ""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


def tls(certificate, key, client_authority=None, extra=""):
    """nginx's settings of a server with TLS and, where an authority is given, mTLS."""
    text = f"ssl_certificate {certificate}; ssl_certificate_key {key}; {extra}"
    return text + (f" ssl_client_certificate {client_authority}; ssl_verify_client on;" if client_authority else "")


def hold_namespaces(hosts, name=None):
    """A process that keeps a host's namespaces alive, with that hosts file and, where it is given, a name; it ends with us."""
    flags, rename = (["-u"], f"hostname {name} && ") if name else ([], "")
    p = subprocess.Popen(["unshare", "-n", "-m", *flags, "sh", "-c",
                          f"{rename}mount --bind {hosts} /etc/hosts && ip link set lo up && echo ready && exec sleep 100000"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_us)
    if p.stdout.readline().strip() != "ready":
        raise RuntimeError("a network namespace could not be made")
    return p


class Net:
    """Two network namespaces joined by a cable: ours, where the tested programs run, and the world, where FOREIGN is and a
    server listens that would be glad to be spoken to. `enter` is put in front of a command that is to run in ours. Ours has a
    hosts file of its own, which bend() changes under running programs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hosts = self.folder / "hosts"
        self.bend("127.0.0.1")
        self.holders = []
        try:
            self.ours = self.hold()
            self.world = self.hold()
            self.join()
        except BaseException:
            self.close()
            raise
        self.enter = ["nsenter", "-t", str(self.ours), "-n", "-m", "--"]

    @staticmethod
    def possible():
        return os.geteuid() == 0 and TCPDUMP and subprocess.run(["unshare", "-n", "-m", "true"], check=False,
                                                                capture_output=True).returncode == 0

    def hold(self):
        self.holders.append(hold_namespaces(self.hosts))
        return self.holders[-1].pid

    def join(self):
        run = lambda *words: subprocess.run(words, check=True, capture_output=True)
        inside = lambda pid, *words: run("nsenter", "-t", str(pid), "-n", *words)
        cable = f"sv{os.getpid()}"
        inside(self.ours, "ip", "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", str(self.world))
        for pid, address in ((self.ours, "10.203.0.1/24"), (self.world, "10.203.0.2/24")):
            inside(pid, "ip", "address", "add", address, "dev", cable)
            inside(pid, "ip", "link", "set", cable, "up")
        inside(self.world, "ip", "address", "add", f"{FOREIGN}/32", "dev", "lo")
        inside(self.ours, "ip", "route", "add", "default", "via", "10.203.0.2")
        self.cable = cable

    def bend(self, address):
        """What the allowed name resolves to, from now on."""
        self.hosts.write_text(f"127.0.0.1 localhost\n::1 localhost\n{address} {HOST}\n")

    def in_world(self):
        return ["nsenter", "-t", str(self.world), "-n", "-m", "--"]

    def close(self):
        for p in self.holders:
            p.kill()
            p.wait()
            p.stdout.close()
        self.holders = []


class Capture:
    """Every packet on the cable to or from the foreign network, and every question for a way to it."""

    def __init__(self, net, name):
        self.file = net.folder / f"{name}.pcap"
        self.log = net.folder / f"{name}.log"
        self.file.unlink(missing_ok=True)
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(["nsenter", "-t", str(net.ours), "-n", "--", TCPDUMP, "-i", net.cable, "-n", "-U", "-Z",
                                             "root", "--immediate-mode", "-w", str(self.file), "net 198.51.100.0/24 or arp"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_us)
        wait_until("tcpdump", lambda: "listening on" in self.log.read_text())

    def packets(self):
        """Ends it: one line for each packet."""
        time.sleep(0.3)  # what is on its way through the kernel
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        shown = subprocess.run([TCPDUMP, "-n", "-r", str(self.file)], check=False, capture_output=True, text=True)
        return [line for line in shown.stdout.splitlines() if line.strip()]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
