// Linked into two programs of the build with ASan whose leaks cannot be looked for: keelson-puller, whose cage
// refuses what LeakSanitizer needs (a traced thread, /proc), and keelsonctl, which ends while cpprestsdk's
// threads still hold what they hold.
extern "C" int __lsan_is_turned_off() { return 1; }  // NOLINT(bugprone-reserved-identifier): its name
