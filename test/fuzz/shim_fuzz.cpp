// What podshim reads: the agent's requests and the launch spec; and its journal, which the agent reads back.
#include <cstdlib>

#include "agent/runtime/shim/protocol.h"

using namespace keelson::shim;

namespace {

template <typename Message>
void read(const uint8_t* data, size_t size) {
  Reader in(reinterpret_cast<const char*>(data), size);
  Message message;
  (void)message.decode(in);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  read<SandboxRequest>(data, size);
  read<StartRequest>(data, size);
  read<SignalRequest>(data, size);
  read<ExecRequest>(data, size);
  read<SandboxState>(data, size);
  read<Failure>(data, size);
  read<JournalEntry>(data, size);
  read<LaunchSpec>(data, size);
  const char* journal = reinterpret_cast<const char*>(data);
  JournalEntry entry;
  for (size_t offset = 0; const size_t length = read_journal(journal, size, offset, entry);) {
    if (length > size - offset) std::abort();
    offset += length;
  }
  return 0;
}
