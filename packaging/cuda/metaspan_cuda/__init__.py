"""The device module of metaspan, which `device="cuda"` loads; no interface of its own."""
