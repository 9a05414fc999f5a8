"""Holds the device module of metaspan, which `device="cuda"` loads; there is no public interface."""
