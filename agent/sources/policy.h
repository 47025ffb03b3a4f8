#pragma once
// --source-policy: what each source may ask for, as levels of the Pod Security
// Standards. A manifest that is fetched or pushed is root on the node otherwise.
// Pure.

#include <map>
#include <string>
#include <string_view>

#include "api/validate.h"
#include "host/error.h"

namespace keelson::sources {

inline constexpr std::string_view kDefaultSourcePolicy =
    "file=privileged,etcd=privileged,apiserver=privileged,url=baseline,push=baseline";

class SourcePolicy {
 public:
  // The default.
  SourcePolicy();
  // "file=privileged,url=restricted": a source that is not named keeps its default.
  static host::Result<SourcePolicy> parse(std::string_view text);

  // An unknown source is held to `restricted`.
  api::SecurityLevel level(std::string_view source) const;

 private:
  std::map<std::string, api::SecurityLevel, std::less<>> levels_;
};

}  // namespace keelson::sources
