// SPDX-License-Identifier: Apache-2.0
#include "sessions.h"

bool sessions_reserve(struct sessions *sessions, size_t limit)
{
    size_t taken = sessions->count + sessions->opening;
    if (taken >= limit || taken >= SESSIONS_MAX)
        return false;
    sessions->opening++;
    return true;
}

void sessions_settle(struct sessions *sessions, const struct session *opened)
{
    sessions->opening--;
    if (opened != NULL)
        sessions->open[sessions->count++] = *opened;
}

bool sessions_epoch(const struct sessions *sessions, CK_SESSION_HANDLE handle, unsigned *epoch)
{
    for (size_t i = 0; i < sessions->count; i++) {
        if (sessions->open[i].handle == handle) {
            *epoch = sessions->open[i].epoch;
            return true;
        }
    }
    return false;
}

void sessions_remove(struct sessions *sessions, CK_SESSION_HANDLE handle)
{
    for (size_t i = 0; i < sessions->count; i++) {
        if (sessions->open[i].handle == handle) {
            sessions->open[i] = sessions->open[--sessions->count];
            return;
        }
    }
}

void sessions_remove_slot(struct sessions *sessions, CK_SLOT_ID slot)
{
    size_t kept = 0;
    for (size_t i = 0; i < sessions->count; i++) {
        if (sessions->open[i].slot != slot)
            sessions->open[kept++] = sessions->open[i];
    }
    sessions->count = kept;
}
