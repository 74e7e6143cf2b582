"""The join page: what somebody sees who opens an invite link in a browser."""
