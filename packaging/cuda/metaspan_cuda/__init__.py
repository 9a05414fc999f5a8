"""Holds the device module of metaspan, which `device="cuda"` loads; nothing here is public."""
