"""What tests stand on: scripted peers, certificates, virtual time and the proxy as a child process."""
