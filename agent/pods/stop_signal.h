#pragma once
// Which signal asks a container to end.

#include <string>

#include "api/pod.h"

namespace keelson::pods {

// lifecycle.stopSignal, else the image's STOPSIGNAL, else SIGTERM. Names with and
// without "SIG", numbers, "SIGRTMIN+3"; what cannot be read is SIGTERM.
int stop_signal_of(const api::Container& container, const std::string& image_signal);

}  // namespace keelson::pods
