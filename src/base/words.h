#ifndef DUCTO_BASE_WORDS_H
#define DUCTO_BASE_WORDS_H

/*
 * The words that an enum is in SQL, by its values, and NULL at the end. Where
 * the first is NULL, that value is NULL in SQL.
 */
typedef const char *const *Words;

extern int	word_find(Words words, const char *text);
extern int	word_find_of(Words words, const char *text, int len);

#endif
