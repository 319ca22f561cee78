"""`upnext demo`: the whole job once, for somebody who wants to see it work."""
