#pragma once
// libarchive's tar reader over a ByteSource. One thread at a time.

#include <memory>

#include "agent/images/layer_tree.h"
#include "agent/images/puller/stream.h"
#include "host/error.h"

namespace keelson::images {

class TarReader {
 public:
  // Borrows `source`, which must be decompressed already.
  static host::Result<TarReader> open(ByteSource& source);
  TarReader(TarReader&&) noexcept;
  ~TarReader();

  // The next entry; false at the end. An error of the source is returned as it was.
  host::Result<bool> next(Entry& entry);
  // The content of the entry that next() gave, once.
  host::Status content(const WriteAt& write);

 private:
  struct State;
  explicit TarReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace keelson::images
