#pragma once
// What an agent finds under /registry/hosts/<node>/: the manifests of the Pods bound to it,
// each written and removed in the transaction that writes and removes its Pod.
//
// Pure; safe on every thread.

#include <vector>

#include "api/resource.h"
#include "etcd/messages.h"

namespace keelson::apiserver {

// The operations that make the copy follow. Either is null when there is no such Pod. A copy
// has no status, and a change of status alone does not touch it.
void copy_to_host(const api::Pod* next, const api::Pod* current, std::vector<etcd::Operation>& operations);

}  // namespace keelson::apiserver
