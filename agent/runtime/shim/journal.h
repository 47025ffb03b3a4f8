#pragma once
// The pod's journal: starts and exits, on disk before anyone hears of them.

#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

struct Journal {
  int fd = -1;
  int directory = -1;
  uint64_t size = 0;
};

void journal_open(Journal& journal, int fd, int directory);
// Appends and syncs. false: the disk did not take it; the journal is as before.
bool journal_append(Journal& journal, const JournalEntry& entry);

}  // namespace keelson::shim
