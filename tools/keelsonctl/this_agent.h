#pragma once
// Which agent keelsonctl means when it is not told: the one that this node's configuration
// file describes.

#include <string>

#include "agent/options.h"
#include "host/error.h"
#include "tools/keelsonctl/agent_client.h"

namespace keelson::ctl {

// What the user said of it; empty is what was not said.
struct Given {
  std::string url, root_dir, ca_file, cert_file, key_file;
};

// Where an agent with these options serves, as seen from its own host, over what `given`
// leaves open. The certificate that it shows is known from its file, since it need not name
// the loopback address; with --agent or --cacert the usual rules apply. Pure.
AgentOptions agent_of(const agent::Options& options, const Given& given);

// The configuration file's settings. One that was not named may be absent, or for others'
// eyes: defaults then. If it is broken that is said on stderr, and it is ignored, because an
// agent that was started before it broke has to be reached all the same. A named one must be
// right.
host::Result<agent::Options> read_configuration(const std::string& file, bool named);

}  // namespace keelson::ctl
