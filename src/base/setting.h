#ifndef DUCTO_BASE_SETTING_H
#define DUCTO_BASE_SETTING_H

#include "postgres.h"

/* What ducto.rejections can be. */
typedef enum RejectionMode
{
	REJECTIONS_RETURN,
	REJECTIONS_RAISE,
	REJECTIONS_HTTP,
	REJECTIONS_POSTGREST
} RejectionMode;

#define REJECTION_WORDS	"return, raise, http or postgrest"

extern void settings_define(void);

extern RejectionMode setting_rejections(bool *stands);
extern bool rejections_parse(const char *word, int *mode);
extern int	setting_reservation_ttl(void);
extern bool setting_require_key(void);
extern bool setting_key_conflicts(void);
extern bool setting_chain(void);
extern bool setting_direct(void);
extern bool setting_test_clock(void);
extern int	setting_progress_interval(void);
extern int64 setting_event_retention(void);

#endif
