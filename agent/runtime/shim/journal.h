#pragma once
// The pod's journal: starts and exits. An exit is on disk before anyone hears of it; a
// start is written and not waited for: it is void after a crash of the machine, and an
// exit that follows brings it to the disk too.

#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

struct Journal {
  int fd = -1;
  int directory = -1;
  uint64_t size = 0;
};

void journal_open(Journal& journal, int fd, int directory);
// Appends, and syncs an exit. false: the disk did not take it; the journal is as before.
bool journal_append(Journal& journal, const JournalEntry& entry);

}  // namespace keelson::shim
