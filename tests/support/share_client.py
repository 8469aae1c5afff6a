#!/usr/bin/env python3
"""The stand-in tunnel client: a program of its own. It takes frpc's arguments as Gradio gives them, and no other.

BEHAVIOUR, which the server writes into it: "good"; "silent" (signs in, says nothing); "refused"; "dies" (half a second
after its link); "exits" (at once); "chatty" (ends only if its output is read); "phishing" (says a link it must not);
"stubborn" (does not end on TERM).
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

BEHAVIOUR = "good"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("kind", choices=["http"])
    parser.add_argument("-n", required=True)
    parser.add_argument("-l", required=True, type=int)
    parser.add_argument("-i", required=True)
    for flag in ("--uc", "--ue", "--disable_log_color", "--tls_enable"):
        parser.add_argument(flag, action="store_true", required=True)
    parser.add_argument("--sd", required=True, choices=["random"])
    parser.add_argument("--server_addr", required=True)
    parser.add_argument("--tls_trusted_ca_file", required=True)
    return parser.parse_args()


def say(text: str) -> None:
    sys.stdout.write(f"2026/01/01 00:00:00 [I] {text}\n")
    sys.stdout.flush()


def sign_in(given: argparse.Namespace) -> socket.socket:
    if "BEGIN CERTIFICATE" not in Path(given.tls_trusted_ca_file).read_text():
        raise SystemExit("no certificate")
    host, _, port = given.server_addr.rpartition(":")
    signed_in = socket.create_connection((host, int(port)), timeout=10)
    signed_in.settimeout(None)
    return signed_in


def forward(source: socket.socket, target: socket.socket) -> None:
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            end.close()


def serve(listening: socket.socket, given: argparse.Namespace) -> None:
    while True:
        public, _ = listening.accept()
        try:
            app = socket.create_connection((given.i, given.l))
        except OSError:
            public.close()
            continue
        for ends in ((public, app), (app, public)):
            threading.Thread(target=forward, args=ends, daemon=True).start()


def main() -> None:
    given = arguments()
    if BEHAVIOUR == "exits":
        return
    if BEHAVIOUR == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signed_in = sign_in(given)
    say("login to server success")
    if BEHAVIOUR == "refused":
        say("login to server failed: authorization failed")
        time.sleep(60)
    if BEHAVIOUR == "silent":
        time.sleep(600)
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listening, given), daemon=True).start()
    link = f"http://127.0.0.1:{listening.getsockname()[1]}"
    say(f"[{given.n}] start proxy success: {'https://evil.example/login' if BEHAVIOUR == 'phishing' else link}")
    if BEHAVIOUR == "dies":
        time.sleep(0.5)
        os._exit(1)
    if BEHAVIOUR == "chatty":
        for _ in range(4000):
            say("x" * 200)
        os._exit(0)
    signed_in.recv(1)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
