"""What was used: ``usage`` (who spent what), ``forecast`` (where that leads), ``me`` (what a key
may use and has left).
"""
