//! Pure protocol.
