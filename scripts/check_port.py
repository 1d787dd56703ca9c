"""End with a line instead of a start when another server has the port: BentoML would first wipe that one's metrics.

python scripts/check_port.py PORT
"""

import os
import socket
import sys


def main(port: str) -> None:
    """Take the port for a moment."""
    try:
        socket.create_server(("", int(port))).close()
    except (OSError, OverflowError, ValueError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is no number from 1 to 65535"
        raise SystemExit(f"maeum: port {port} cannot be used: {reason}; choose another with PORT=") from None


if __name__ == "__main__":
    main(sys.argv[1])
