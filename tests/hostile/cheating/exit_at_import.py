# expect: exception SystemExit
# why: no test is reached
raise SystemExit(0)
