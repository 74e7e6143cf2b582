"""The configuration file as frozen, typed sections. An unknown key is refused with its path; secrets never print."""

from bridge.config.load import load, parse
from bridge.config.registration import registration_of
from bridge.config.secret import Secret
from bridge.config.sections import Config

__all__ = ["Config", "Secret", "load", "parse", "registration_of"]
