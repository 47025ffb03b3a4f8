#pragma once
// Whether the puller's cage has walls of Landlock (landlock(7)) on this kernel.

namespace keelson::images {

long landlock_abi();  // 0: none
inline bool kernel_has_landlock() { return landlock_abi() > 0; }

}  // namespace keelson::images
