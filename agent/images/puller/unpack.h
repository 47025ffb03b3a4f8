#pragma once
// A layer's blob to a directory in one pass: sha256 of the blob, decompression
// (gzip, zstd, none), sha256 of the tar (the diff_id), libarchive, LayerTree. The
// content is acted upon before the digests are known, so it runs in the puller's
// sandbox and the directory counts only after success.

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "agent/images/digest.h"
#include "agent/images/layer_tree.h"
#include "agent/images/puller/stream.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

struct UnpackLimits {
  uint64_t blob_bytes = 64ull << 30;   // compressed, one layer
  uint64_t ratio = 256;                // decompressed per compressed byte …
  uint64_t ratio_free = 256ull << 20;  // … once this much has come out
};

struct ExpectedLayer {
  std::optional<Digest> blob;  // absent in a docker archive, which has diff_ids only
  uint64_t blob_size = 0;      // 0: unknown
  Digest diff_id;
};

struct UnpackedLayer {
  uint64_t bytes = 0, inodes = 0;
  std::set<std::string> opaque;  // as of LayerTree::opaque
};

// Blocking; may run on several threads with different directories and one budget.
// After a failure the directory holds rubbish, to be removed by the caller. A wrong
// digest or size is named even when the damage broke the decompression first.
host::Result<UnpackedLayer> unpack_layer(ByteSource& blob, const ExpectedLayer& expected, host::Fd directory,
                                         Budget& budget, const UnpackLimits& limits);

}  // namespace keelson::images
